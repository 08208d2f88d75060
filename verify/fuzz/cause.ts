/** What a minimised case is about, in words without names and numbers: two findings with equal words have one cause. */
import type { ClusterModel, LabelSelector, PolicyPeer, PolicyPort, PolicyRule } from "../../compiler/model.ts";
import { hasPorts, type Packet, protocolName } from "../../dataplane/packet.ts";
import type { Disagreement, FuzzCase } from "./case.ts";

/** `kube-router accepts what the reference drops: ingress from 1 block with except, tcp range`. */
export function causeOf(subject: FuzzCase, disagreement: Disagreement): string {
  const { accused, against, expected, actual, thrown, step } = disagreement;
  const about = aboutText(subject.model);
  if (thrown !== undefined) return `${accused} against ${against}: ${withoutNumbers(thrown)}: ${about}`;
  const found = subject.steps[step ?? -1];
  const packet = found?.kind === "packet" ? `, ${packetText(found.packet)}` : "";
  const changes = subject.steps.filter(({ kind }) => kind === "change").length;
  const history = subject.fresh ? "" : `, after ${changes} changes`;
  return `${accused}: ${actual} where ${against} means ${expected}: ${about}${packet}${history}`;
}

/** Before a case is small: enough to tell crowds of equal findings apart. */
export function roughCause(
  { accused, against, expected, actual, thrown }: Disagreement,
  said: readonly string[],
): string {
  const words = said.map((line) => withoutNumbers(line.replace(/\S+\/\S+/g, "NAME")));
  return [accused, against, expected, actual, withoutNumbers(thrown ?? ""), ...words].join(" | ");
}

function withoutNumbers(text: string): string {
  return text.replace(/[A-Z0-9]{8,}|[0-9a-f]{6,}|\d+/g, "N").slice(0, 200);
}

function packetText({ protocol, source }: Packet): string {
  return `${hasPorts(protocol) ? protocolName(protocol) : `${protocolName(protocol)} without ports`} over IPv${source.family}`;
}

function aboutText(model: ClusterModel): string {
  const policies = model.policies.map(({ types, ingress, egress, podSelector }) => {
    const rules = [
      ...ingress.map((rule) => `ingress ${ruleText(rule)}`),
      ...egress.map((rule) => `egress ${ruleText(rule)}`),
    ];
    return `${types.join(" and ")} of ${selectorText(podSelector)} (${rules.join("; ") || "no rules"})`;
  });
  return policies.sort().join(" beside ") || "no policies";
}

function ruleText({ peers, ports }: PolicyRule): string {
  const who = peers.length === 0 ? "anybody" : counted(peers.map(peerText));
  const what = ports.length === 0 ? "every port" : counted(ports.map(portText));
  return `${who}, ${what}`;
}

function counted(texts: readonly string[]): string {
  return [...new Set(texts)].sort().join(" and ");
}

function peerText(peer: PolicyPeer): string {
  if (peer.kind === "ipBlock") return peer.except.length === 0 ? "block" : "block with except";
  const { namespaceSelector, podSelector } = peer;
  const parts = [
    ...(namespaceSelector === undefined ? [] : [`namespaces ${selectorText(namespaceSelector)}`]),
    ...(podSelector === undefined ? [] : [`pods ${selectorText(podSelector)}`]),
  ];
  return parts.join(" of ");
}

function selectorText({ matchLabels, matchExpressions }: LabelSelector): string {
  const parts = [...(matchLabels.length > 0 ? ["labels"] : []), ...matchExpressions.map(({ operator }) => operator)];
  return parts.length === 0 ? "all" : [...new Set(parts)].sort().join("+");
}

function portText({ protocol, port, endPort }: PolicyPort): string {
  const kind =
    typeof port === "string" ? "named" : port === undefined ? "any" : endPort === undefined ? "one" : "range";
  return `${protocol} ${kind}`;
}
