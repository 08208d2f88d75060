/** Findings about ports that nobody declares, by number or by name. */
import { DIRECTIONS, type Direction, type Endpoint, type PolicyPort } from "../../compiler/model.ts";
import type { ResolvedCluster, ResolvedPolicy, ResolvedRule } from "../../compiler/resolve.ts";
import { portField } from "./fields.ts";
import { finding, type LintFinding } from "./finding.ts";

export function lintPorts({ policies }: ResolvedCluster): readonly LintFinding[] {
  return policies.flatMap((resolved) =>
    DIRECTIONS.filter((direction) => resolved.policy.types.includes(direction)).flatMap((direction) =>
      resolved[direction].flatMap((rule) => {
        const pods = destinations(resolved, direction, rule);
        if (pods.length === 0) return [];
        // Of a rule that matches nothing because of its names that is said already.
        const isSaid = rule.ports.every(
          (port) => typeof port.port === "string" && !pods.some((pod) => names(pod, port)),
        );
        // A pod that declares no port at all says nothing about where it listens; but it has no port of any name.
        const isUnknown = pods.some(({ ports }) => ports.length === 0);
        return rule.ports.flatMap((port, index): readonly LintFinding[] => {
          const isName = typeof port.port === "string";
          if (port.port === undefined || (isName ? isSaid || pods.some((pod) => names(pod, port)) : isUnknown))
            return [];
          if (!isName && pods.some((pod) => exposes(pod, port))) return [];
          const message = undeclaredText(port, pods);
          return [finding("port-not-exposed", port.source, { path: portField(direction, rule.index, index), message })];
        });
      }),
    ),
  );
}

/** The pods a rule leads to; none when it leads outside as well, where nothing is declared. */
function destinations(
  { subjects }: ResolvedPolicy,
  direction: Direction,
  { peers }: ResolvedRule,
): readonly Endpoint[] {
  if (direction === "ingress") return subjects;
  const members = peers.flatMap((peer) => (peer.kind === "pods" ? [peer.members] : []));
  return members.length < peers.length ? [] : [...new Set(members.flat())];
}

function exposes({ ports }: Endpoint, { port, endPort, protocol }: PolicyPort): boolean {
  if (typeof port !== "number") return true;
  return ports.some((own) => own.protocol === protocol && own.port >= port && own.port <= (endPort ?? port));
}

/** Whether the name stands for a port of the pod; those of init containers are gone when it serves. */
function names({ ports }: Endpoint, { port, protocol }: PolicyPort): boolean {
  return ports.some((own) => own.protocol === protocol && own.name === port && own.container !== "init");
}

function undeclaredText({ protocol, port, endPort }: PolicyPort, pods: readonly Endpoint[]): string {
  const range = endPort === undefined || endPort === port ? "" : `-${endPort}`;
  const what = typeof port === "string" ? JSON.stringify(port) : `${port}${range}`;
  const [place, that] = typeof port === "string" ? ["of that name", ": it matches nothing"] : ["there", ""];
  const whom =
    pods.length === 1
      ? `${pods[0]?.key} declares no port ${place}`
      : `none of ${pods.length} pods declares a port ${place}`;
  const declared = declaredText(pods);
  return `${protocol} ${what}: ${whom}${that}${declared === "" ? "" : `; they declare ${declared}`}`;
}

/** Enough to see the mistake. */
const SHOWN = 4;

function declaredText(pods: readonly Endpoint[]): string {
  const texts = [...new Set(pods.flatMap(({ ports }) => ports.map(({ protocol, port }) => `${protocol} ${port}`)))];
  const more = texts.length > SHOWN ? ` and ${texts.length - SHOWN} more` : "";
  return `${texts.slice(0, SHOWN).join(", ")}${more}`;
}
