/** Why, in words: what the policies say about a packet, beside what the strategy did with it. */
import { DIRECTIONS, type Direction } from "../compiler/model.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { PacketResult } from "../dataplane/result.ts";
import type { Verdict } from "../dataplane/verdict.ts";
import { evaluate, type ReferenceAnswer } from "../reference/evaluate.ts";
import { quote, SENTENCES, type Sentence } from "../reference/sentences.ts";
import type { Answer } from "./lane.ts";

export interface ExplainOptions {
  readonly cluster: ResolvedCluster;
  readonly packet: Packet;
  readonly answer: Answer;
  /** Undefined when the reference answered. */
  readonly strategy: Strategy | undefined;
}

/** Lines that follow the verdict; the first is the shortest true answer. */
export function explain(options: ExplainOptions): readonly string[] {
  const { by } = options.answer;
  switch (by.kind) {
    case "reference":
      if (by.result.ctState !== "new") return [carried(by.result.ctState)];
      return telling(by.result, by.result.verdict === "accept");
    case "fabric":
      return explainFabric(options, by.result);
  }
}

function explainFabric(options: ExplainOptions, result: PacketResult): readonly string[] {
  const { cluster, packet, strategy } = options;
  const accepted = result.verdict === "accept";
  const apart = apartFromPolicy(result);
  if (apart !== undefined) return [apart];
  const meant = evaluate(cluster.model, packet);
  if (result.hops.length === 0 && meant.verdict !== "accept") {
    return ["no node of the cluster sees this packet, so nothing is enforced"];
  }
  if (result.ctState === "established" || result.ctState === "related") {
    if (accepted) return [carried(result.ctState)];
    return ["the connection lives, but the policies are asked again for this packet", ...telling(meant, false)];
  }
  if ((meant.verdict === "accept") === accepted) return telling(meant, accepted);
  return [
    deviationLine({ strategy, cluster, packet, verdict: result.verdict }),
    ...telling(meant, !accepted).map((line) => `the API text says ${meant.verdict}: ${line}`),
  ];
}

/**
 * Of a packet that one imported node was asked about. What the policies say of the whole way explains nothing there; the
 * deciding rule may, with the comment its solution left on it.
 */
export function explainImported(result: PacketResult, comment: string | undefined): readonly string[] {
  const said = comment === undefined ? "as the rules of the node have it" : `the deciding rule says "${comment}"`;
  return [apartFromPolicy(result) ?? said];
}

/** Why, where no policy had a say. */
function apartFromPolicy({ verdict, reason }: PacketResult): string | undefined {
  if (verdict === "unknown") {
    return "the packet reached a rule that chainwalk cannot represent, so what the node does with it is not known";
  }
  switch (reason) {
    case "invalid":
      return "connection tracking calls the packet invalid, and a rule drops what is invalid";
    case "table-full":
      return "the connection table is full";
    case "spoofed":
      return "the source address does not belong behind the interface the packet came in by";
    case "chain-policy":
      return "no rule accepted the packet, and the policy of the built-in chain is to drop";
    case "unknown-interface":
      return "no pod of the node is behind the interface";
    case "policy":
    case "opaque":
    case undefined:
      return undefined;
  }
}

function carried(ctState: "established" | "related"): string {
  switch (ctState) {
    case "established":
      return "part of a connection that was allowed";
    case "related":
      return "an ICMP error about a connection that was allowed";
  }
}

/** What a direction of the reference's answer ends with. */
function isSaid(because: string, sentence: Sentence): boolean {
  return because.endsWith(`: ${quote(sentence)}`);
}

/**
 * When the packet passes, both directions, first what a rule allowed; an end that no policy can govern only when there
 * is nothing else to say. When it does not, the directions that refuse.
 */
function telling({ because, directions }: ReferenceAnswer, accepted: boolean): readonly string[] {
  const [egress = "", ingress = ""] = because;
  if (!accepted) {
    return [...(directions.egress === "drop" ? [egress] : []), ...(directions.ingress === "drop" ? [ingress] : [])].map(
      inWords,
    );
  }
  const ungoverned = (line: string) => isSaid(line, SENTENCES.outside) || isSaid(line, SENTENCES.node);
  const governed = because.filter((line) => !ungoverned(line));
  const lines = governed.length > 0 ? governed : because.slice(0, 1);
  const isAllowed = (line: string) => isSaid(line, SENTENCES.allowed);
  return [...lines.filter(isAllowed), ...lines.filter((line) => !isAllowed(line))].map(inWords);
}

/** Sentences whose meaning the line before them already has. */
const IMPLIED: readonly Sentence[] = [SENTENCES.notIsolated, SENTENCES.allowed, SENTENCES.isolated];

/** The reference's line without the quotation; the sentence itself where the line says nothing without it. */
function inWords(because: string): string {
  const sentence = Object.values(SENTENCES).find((candidate) => isSaid(because, candidate));
  if (sentence === undefined) return because;
  const line = because.slice(0, -`: ${quote(sentence)}`.length);
  return IMPLIED.includes(sentence) ? line : `${line}: ${sentence.text}`;
}

interface DeviationOptions {
  readonly strategy: Strategy | undefined;
  readonly cluster: ResolvedCluster;
  readonly packet: Packet;
  readonly verdict: Verdict;
}

function deviationLine({ strategy, cluster, packet, verdict }: DeviationOptions): string {
  const deviation = strategy?.deviations.find((candidate) => candidate.verdict(cluster, packet) === verdict);
  if (deviation === undefined) return `${strategy?.name} deviates from the API, and no declared deviation says why`;
  return `${strategy?.name} deviates from the API (${deviation.name}): ${deviation.summary}`;
}

/** The directions in which the policies refuse the first packet of a connection. */
export function refusedDirections(cluster: ResolvedCluster, packet: Packet): readonly Direction[] {
  const { directions } = evaluate(cluster.model, packet);
  return DIRECTIONS.filter((direction) => directions[direction] === "drop");
}
