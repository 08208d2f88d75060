/** Openings between all pairs of some ends, decided together, and pushed one by one. */
import type { IpAddress } from "../../dataplane/address.ts";
import type { Fabric } from "../../dataplane/fabric.ts";
import type { Attachment, Program } from "../../dataplane/program.ts";
import { VERDICTS, type Verdict } from "../../dataplane/verdict.ts";
import type { Port } from "../../traffic/generate/sessions.ts";
import type { AtomSet } from "../../verify/atomSet.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { NODES, PLACES } from "../../verify/fuzz/domain.ts";
import { PairVerdicts } from "../../verify/pairs/pairVerdicts.ts";
import { openingOf, type PairQuestion } from "../../verify/pairs/question.ts";

/** Three pods of the node; `bridge`: all behind ports of it, and the other node's pods behind another. */
export function attachmentOf(node: string, bridge: boolean): Attachment {
  const addresses = (places: readonly { readonly ipv4: string; readonly ipv6: string }[]) =>
    places.flatMap(({ ipv4, ipv6 }) => [address(ipv4), address(ipv6)]);
  const routed: Attachment = {
    uplink: "eth0",
    pods: PLACES.filter((place) => place.node === node).map((place, index) => ({
      endpoint: `default/pod-${index}`,
      addresses: addresses([place]),
      interface: `cali${index}`,
    })),
    remotePodAddresses: [],
    localAddresses: addresses(NODES.filter(({ name }) => name === node)),
  };
  if (!bridge) return routed;
  const remotePodAddresses = addresses(PLACES.filter((place) => place.node !== node));
  return { ...routed, bridge: "weave", remotePodsPort: "vethwe-bridge", remotePodAddresses };
}

/** Verdicts one by one, each with connection tracking that has seen nothing. */
export function pushed(fabric: Fabric, ends: readonly IpAddress[], ports: readonly Port[]): readonly Verdict[] {
  return ends.flatMap((source) =>
    ports.flatMap((port) =>
      ends.map((destination) => {
        fabric.flushConntrack();
        return fabric.push(openingOf(source, destination, port)).verdict;
      }),
    ),
  );
}

export function decided(
  question: PairQuestion,
  all: readonly Program[],
  sources: AtomSet,
): readonly string[] | undefined {
  const refusals = PairVerdicts.of(all, question)?.of(sources);
  if (refusals === undefined) return undefined;
  const cells = refusals.signed(Uint8Array.from(VERDICTS.keys()));
  const verdicts: string[] = [];
  for (let row = 0; row < sources.size * question.ports.length; row++) {
    for (let end = 0; end < question.ends.length; end++) {
      verdicts.push(VERDICTS[cells[row * 32 * question.words + end] ?? 0] ?? "");
    }
  }
  return verdicts;
}
