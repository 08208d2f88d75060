/** kube-router's renumbered named ports: off unless asked for, and then the windows that were recorded. */
import { describe, expect, it } from "vitest";
import { formatAddress } from "../../dataplane/address.ts";
import { storyOf } from "../../verify/story.ts";
import { timeline } from "../../verify/timeline.ts";
import { hasShared } from "../shared.ts";
import { hasTime, storyClusters, strategyCalled } from "./recordings.ts";

/** Windows of a step of pod-churn on node-a between client-2 and the two web pods. */
function windowsIn(step: number, settings: ReadonlyMap<string, string>): readonly string[] {
  const story = storyOf(storyClusters("pod-churn").map((cluster) => ({ what: undefined, cluster })));
  const options = { strategy: strategyCalled("kube-router"), node: "node-a", settings, limit: 1_000_000 };
  const lived = [...timeline(story, options)].find((each) => each.step.number === step);
  return (lived?.transients.found ?? [])
    .filter(({ packet }) => formatAddress(packet.source) === "10.10.2.12" && packet.destinationPort > 8000)
    .map(
      ({ kind, packet, to }) =>
        `${kind} ${formatAddress(packet.destination)}:${packet.destinationPort} to ${to.operation}`,
    )
    .toSorted();
}

describe.skipIf(!hasShared || !hasTime)("named ports with two numbers", () => {
  it("keep their sets from sync to sync by default", () => {
    expect(windowsIn(4, new Map())).toEqual([]);
  });

  // dumps/updates/kube-router/packets-pod-churn-node-a.txt, step 4: an event that has nothing to do with them.
  it("change them when numbers turn, and packets meet each other's pods until the commit", () => {
    expect(windowsIn(4, new Map([["named-port-order", "turning"]]))).toEqual([
      "leak 10.10.1.10:8081 to 2",
      "leak 10.10.1.12:8080 to 2",
      "outage 10.10.1.10:8080 to 2",
      "outage 10.10.1.12:8081 to 2",
    ]);
  });
});
