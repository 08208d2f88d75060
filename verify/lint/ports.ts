/** Findings about port numbers that nobody declares. */
import { DIRECTIONS, type Direction, type Endpoint, type PolicyPort } from "../../compiler/model.ts";
import type { ResolvedCluster, ResolvedPolicy, ResolvedRule } from "../../compiler/resolve.ts";
import { portField } from "./fields.ts";
import { finding, type LintFinding } from "./finding.ts";

export function lintPorts({ policies }: ResolvedCluster): readonly LintFinding[] {
  return policies.flatMap((resolved) =>
    DIRECTIONS.filter((direction) => resolved.policy.types.includes(direction)).flatMap((direction) =>
      resolved[direction].flatMap((rule) => {
        const pods = destinations(resolved, direction, rule);
        // A pod that declares no port at all says nothing about where it listens.
        if (pods.length === 0 || pods.some(({ ports }) => ports.length === 0)) return [];
        return rule.ports.flatMap((port, index): readonly LintFinding[] => {
          if (typeof port.port !== "number" || pods.some((pod) => exposes(pod, port))) return [];
          const range = port.endPort === undefined || port.endPort === port.port ? "" : `-${port.endPort}`;
          const whom = pods.length === 1 ? `${pods[0]?.key} declares` : `none of ${pods.length} pods declares`;
          const not = pods.length === 1 ? "no port there" : "a port there";
          const message = `${port.protocol} ${port.port}${range}: ${whom} ${not}; they declare ${declaredText(pods)}`;
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

/** Enough to see the mistake. */
const SHOWN = 4;

function declaredText(pods: readonly Endpoint[]): string {
  const texts = [...new Set(pods.flatMap(({ ports }) => ports.map(({ protocol, port }) => `${protocol} ${port}`)))];
  const more = texts.length > SHOWN ? ` and ${texts.length - SHOWN} more` : "";
  return `${texts.slice(0, SHOWN).join(", ")}${more}`;
}
