/** A node in the kernel whose packets are timed, and what our dataplane says they make it do. */
import { Fabric } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Program, TableProgram } from "../../dataplane/program.ts";
import { answerTo } from "../../verify/answer.ts";
import { subjectOf } from "../../verify/kernel/judge.ts";
import { KernelNode } from "../../verify/kernel/node.ts";
import type { Variant } from "../../verify/kernel/rules.ts";
import { WorkCounter, type WorkCounts } from "../model/workCounts.ts";
import { nextOf } from "../workloads/traffic.ts";

export type ConnectionState = "new" | "established";

/** Packets of one pass. */
const PACKETS = 64;
const PASS_NS = 25e6;
const FIRST_PORT = 20_000;

export class PacedNode {
  readonly #node: KernelNode;

  private constructor(node: KernelNode) {
    this.#node = node;
  }

  static async start(attachment: TableProgram["attachment"], variant: Variant): Promise<PacedNode> {
    return new PacedNode(await KernelNode.start(attachment, { variant, walks: false, timeouts: "endless" }));
  }

  async load(program: TableProgram): Promise<void> {
    await this.#node.load(subjectOf(program).text, program);
  }

  /** Nanoseconds a packet, so many times: the opening packet's connection is as old as `state` says. */
  async measure(opening: Packet, state: ConnectionState, times: number): Promise<readonly number[]> {
    await this.#node.flush();
    if (state === "established") {
      await this.#node.push([opening, answerTo(opening), nextOf(opening)]);
    }
    const packets = Array.from({ length: PACKETS }, (_, index) =>
      state === "established" ? nextOf(opening) : { ...opening, sourcePort: FIRST_PORT + index },
    );
    const forget = state === "new" ? ("connections" as const) : ("nothing" as const);
    const guess = await this.#node.pace(packets, { rounds: 4, forget });
    const rounds = Math.max(2, Math.min(2_000, Math.round(PASS_NS / guess / PACKETS)));
    const values: number[] = [];
    for (let time = 0; time < times; time++) values.push(await this.#node.pace(packets, { rounds, forget }));
    return values;
  }

  close(): Promise<void> {
    return this.#node.close();
  }
}

/** What the packet makes the node do when its connection is as old as `state` says; undefined when it does not pass. */
export function countWork(program: Program, opening: Packet, state: ConnectionState): WorkCounts | undefined {
  const fabric = new Fabric([program], { only: program.node });
  const counter = new WorkCounter(program);
  if (state === "new") return fabric.push(opening, counter).verdict === "accept" ? counter.counts : undefined;
  for (const packet of [opening, answerTo(opening), nextOf(opening)]) {
    if (fabric.push(packet).verdict !== "accept") return undefined;
  }
  return fabric.push(nextOf(opening), counter).verdict === "accept" ? counter.counts : undefined;
}
