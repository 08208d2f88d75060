/** What the page asks its worker, and what comes back: plain data, since it crosses a thread. */
import type { Issue } from "../compiler/issue.ts";
import type { ManifestFile } from "../compiler/manifest/parse.ts";
import type { CtState, Verdict, Work } from "../dataplane/verdict.ts";
import type { PacketObject } from "../traffic/packetObject.ts";

export type { Issue, ManifestFile, PacketObject, Verdict, Work };

/** By kind: what is asked and what is answered. */
export interface Questions {
  load: { readonly ask: LoadAsk; readonly answer: Loaded };
  walk: { readonly ask: WalkAsk; readonly answer: readonly StrategyWalk[] };
  next: { readonly ask: NextAsk; readonly answer: NextAnswer };
  set: { readonly ask: SetAsk; readonly answer: SetView };
  matrix: { readonly ask: MatrixAsk; readonly answer: MatrixRows };
  compare: { readonly ask: CompareAsk; readonly answer: CompareReport };
  timeline: { readonly ask: TimelineAsk; readonly answer: TimelineReport };
  replay: { readonly ask: ReplayAsk; readonly answer: ReplayReportView };
}

export type Kind = keyof Questions;

export interface Request<K extends Kind = Kind> {
  readonly id: number;
  readonly kind: K;
  readonly ask: Questions[K]["ask"];
}

export type Reply =
  | { readonly id: number; readonly kind: "answer"; readonly answer: Questions[Kind]["answer"] }
  /** `isBug`: nothing the input can do should lead there. */
  | { readonly id: number; readonly kind: "refusal"; readonly message: string; readonly isBug: boolean };

/** A node's saves that stand in the place of a compiled program. */
export interface SavedNode {
  readonly node: string;
  readonly strategy: string;
  readonly iptablesSave: string;
  readonly ip6tablesSave: string;
  readonly ipsetSave: string;
  /** JSON, namespace/pod to name; absent: the rules say it. */
  readonly interfaces?: string;
}

export interface LoadAsk {
  readonly files: readonly ManifestFile[];
  /** `scenario.yaml`, whose steps can be walked. */
  readonly scenario: ManifestFile | undefined;
  readonly saved: SavedNode | undefined;
}

export interface Loaded {
  readonly issues: readonly Issue[];
  /** Objects of other kinds, by `apiVersion kind`. */
  readonly skipped: readonly (readonly [kind: string, count: number])[];
  /** Undefined when an issue is an error. */
  readonly cluster: ClusterPicture | undefined;
  /** What the scenario says about itself. */
  readonly story: string | undefined;
  readonly steps: readonly StepView[];
  /** How often the story changes; 0: it is none. */
  readonly changes: number;
  readonly strategies: readonly StrategyView[];
  /** In the worker, from text to resolved cluster. */
  readonly tookMs: number;
}

export interface StrategyView {
  readonly name: string;
  readonly summary: string;
}

export interface ClusterPicture {
  readonly nodes: readonly NodePicture[];
  readonly pods: readonly PodPicture[];
  readonly namespaces: readonly string[];
  readonly policies: number;
  /** Addresses outside of the cluster that policies name, to send from and to. */
  readonly outside: readonly string[];
  /** Ports that pods declare and policies name: `tcp/80`. */
  readonly ports: readonly string[];
  /** Pods that a matrix has, in its order. */
  readonly matrix: readonly string[];
}

export interface NodePicture {
  readonly name: string;
  readonly addresses: readonly string[];
}

export interface PodPicture {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** "": not scheduled. */
  readonly node: string;
  readonly addresses: readonly string[];
  readonly labels: string;
  /** Policies that isolate it, by direction. */
  readonly ingress: readonly string[];
  readonly egress: readonly string[];
  /** Why it takes no part in the pod network; undefined: it does. */
  readonly apart: string | undefined;
}

/** A step of the scenario. */
export type StepView =
  | { readonly kind: "packet"; readonly number: number; readonly text: string; readonly expect: Verdict }
  | { readonly kind: "change"; readonly number: number; readonly text: string };

/** Which packet is walked, after which others. */
export type WalkTarget =
  /** The packet step of that number, after all before it. */
  | { readonly kind: "scenario"; readonly step: number }
  /** The last of the packets, after the others. */
  | { readonly kind: "packets"; readonly packets: readonly PacketObject[]; readonly family: 4 | 6 | undefined }
  /** The packet in the middle of a step of the story, with so many operations of each node done. */
  | {
      readonly kind: "moment";
      readonly step: number;
      readonly operation: number;
      readonly packet: PacketObject;
    };

export interface WalkAsk {
  readonly strategies: readonly string[];
  readonly target: WalkTarget;
  /** Whether the rows are wanted, or the verdicts alone. */
  readonly walks: boolean;
}

/** What one strategy, or the reference, did with the packet. */
export interface StrategyWalk {
  readonly strategy: string;
  /** The step does not exist for the strategy, the names are unknown, or its node has no room. */
  readonly absent: string | undefined;
  readonly verdict: Verdict;
  readonly ctState: CtState;
  readonly head: string;
  /** Why, in words; the first is the shortest true answer. */
  readonly because: readonly string[];
  /** The rule or map entry, as `trace` prints it; undefined: nothing decided. */
  readonly decision: string | undefined;
  readonly work: Work | undefined;
  readonly workText: string;
  readonly modelled: Modelled | undefined;
  readonly hops: readonly HopView[];
  /** What the words and the decision name, in the manifests. */
  readonly places: readonly Place[];
  /** What the scenario expected and did not get. */
  readonly failures: readonly string[];
  readonly source: string;
  readonly destination: string;
  /** With names where there are any; undefined: there is no packet. */
  readonly packet: PacketObject | undefined;
}

/** Time by a calibration profile: never beside the counts, which are exact. */
export interface Modelled {
  readonly ns: number;
  readonly low: number;
  readonly high: number;
  readonly profile: string;
  readonly unknown: readonly string[];
}

/** A place in the manifests. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** `default/db-policy ingress[0].from[1]`. */
  readonly text: string;
  /** Named by the rule that decided. */
  readonly isDecision: boolean;
}

export interface HopView {
  readonly node: string;
  readonly ctState: CtState;
  readonly ctWhy: string;
  readonly verdict: Verdict;
  /** Chains in the order entered; a chain entered twice stands there twice. */
  readonly visits: readonly VisitView[];
}

export interface VisitView {
  /** Table of a chain; undefined: a map. */
  readonly table: string | undefined;
  readonly name: string;
  /** Calls above it. */
  readonly depth: number;
  readonly rows: readonly RowView[];
  /** Rules of the chain after the last one that was evaluated. */
  readonly unreached: number;
}

export interface RowView {
  /** Position in the walk of all hops, from 0. */
  readonly at: number;
  readonly number: string;
  readonly conditions: readonly string[];
  readonly action: string;
  readonly kind: "matched" | "failed" | "decided";
  readonly origin: string | undefined;
  /** As the solution writes it. */
  readonly text: string;
  /** Sets that it reads. */
  readonly sets: readonly string[];
  /** Of the packet, once the row is done. */
  readonly mark: number;
  readonly isMarked: boolean;
  readonly lookup: LookupView | undefined;
}

/** Bytes of a key or a value, cut where its fields are. */
export interface LookupView {
  readonly key: readonly FieldView[];
  readonly value: readonly FieldView[] | undefined;
  readonly meaning: string;
}

export interface FieldView {
  readonly name: string;
  readonly hex: string;
  readonly meaning: string;
}

export interface NextAsk {
  readonly kind: "reply" | "retransmission" | "error";
  readonly target: WalkTarget;
}

export interface NextAnswer {
  /** The packets so far and the next one. */
  readonly packets: readonly PacketObject[];
}

export interface SetAsk {
  readonly strategy: string;
  readonly target: WalkTarget;
  readonly node: string;
  readonly set: string;
}

export interface SetView {
  readonly name: string;
  readonly type: string;
  readonly origin: string | undefined;
  /** As `ipset save` prints them, cut after so many. */
  readonly members: readonly string[];
  readonly count: number;
}

export interface MatrixAsk {
  readonly strategy: string;
  /** `tcp/80`. */
  readonly port: string;
  /** Sources: from this one, so many. */
  readonly first: number;
  readonly count: number;
}

export interface MatrixRows {
  readonly first: number;
  /** A letter for each destination: `.` accept, `X` drop, `R` reject, `?` unknown, `#` itself. */
  readonly rows: readonly string[];
}

export interface CompareAsk {
  readonly strategies: readonly string[];
  /** Most classes of packets asked about; absent: as many as fit into the patience of a person. */
  readonly limit?: number;
}

export interface CompareReport {
  /** As `compare -o table` writes it. */
  readonly lines: readonly string[];
  readonly examples: readonly ComparedExample[];
}

export interface ComparedExample {
  readonly cause: string;
  readonly text: string;
  readonly packet: PacketObject;
  readonly verdicts: Readonly<Record<string, Verdict>>;
}

export interface TimelineAsk {
  readonly strategy: string;
  readonly node: string;
  /** Most classes of packets followed in a step; absent: as many as fit into the patience of a person. */
  readonly limit?: number;
}

export interface TimelineReport {
  readonly steps: readonly TimelineStepView[];
  /** As `timeline -o table` writes it. */
  readonly lines: readonly string[];
}

export interface TimelineStepView {
  readonly step: number;
  readonly what: string;
  readonly operations: readonly OperationView[];
  readonly windows: readonly WindowView[];
  readonly connections: { readonly survive: number; readonly cut: number; readonly inherited: number };
}

export interface OperationView {
  readonly command: string;
  /** What the command reads, cut after some thousand characters. */
  readonly input: string | undefined;
}

/** Packets that meet a verdict of neither before nor after. */
export interface WindowView {
  readonly kind: "leak" | "outage" | "open";
  readonly text: string;
  /** In operations of the step; a fraction stands for a part of one. */
  readonly from: number;
  readonly to: number;
  readonly packet: PacketObject;
}

export interface ReplayAsk {
  readonly strategies: readonly string[];
  /** Manifests on top of what is loaded, before and after a change; undefined: the recording goes through what is loaded. */
  readonly change: ReplayChange | undefined;
  /** In tcpdump's words; "": everything. */
  readonly filter: string;
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface ReplayChange {
  readonly before: readonly ManifestFile[] | undefined;
  readonly after: readonly ManifestFile[] | undefined;
  /** Policies that these do not have go. */
  readonly prune: boolean;
}

export interface ReplayReportView {
  /** As `replay -o table` writes it. */
  readonly lines: readonly string[];
  readonly notes: readonly string[];
}
