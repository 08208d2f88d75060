/** A node in the kernel whose packets are timed, and what our dataplane says they make it do. */
import { Fabric } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Program, TableProgram } from "../../dataplane/program.ts";
import { answerTo } from "../../verify/answer.ts";
import { subjectOf } from "../../verify/kernel/judge.ts";
import { KernelNode, type PaceOptions } from "../../verify/kernel/node.ts";
import type { Variant } from "../../verify/kernel/rules.ts";
import { WorkCounter, type WorkCounts } from "../model/workCounts.ts";
import { nextOf } from "../workloads/traffic.ts";

export type ConnectionState = "new" | "established";

/** Packets of one pass. */
const PACKETS = 64;
const PASS_NS = 25e6;
const FIRST_PORT = 20_000;
/** Packets handed to the helper at once: as many as a request has room for (MAX_REQUEST of oracle.c). */
const PORTION = 1_024;

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
    return this.#times(packets, state === "new" ? "connections" : "nothing", times);
  }

  /** All connections that the packets open, and no other, are there and answered. */
  async establish(openings: readonly Packet[]): Promise<void> {
    await this.#node.flush();
    for (let from = 0; from < openings.length; from += PORTION) {
      const some = openings.slice(from, from + PORTION);
      for (const packets of [some, some.map(answerTo), some.map(nextOf)]) {
        await this.#node.pace(packets, { rounds: 1, forget: "nothing" });
      }
    }
  }

  /** Nanoseconds a packet, so many times, of packets that change nothing: all of them in turn, not a few again and again. */
  async measureInTurn(packets: readonly Packet[], times: number): Promise<readonly number[]> {
    const values: number[] = [];
    for (let time = 0; time <= times; time++) {
      let ns = 0;
      for (let from = 0; from < packets.length; from += PORTION) {
        const some = packets.slice(from, from + PORTION);
        ns += some.length * (await this.#node.pace(some, { rounds: 1, forget: "nothing" }));
      }
      // The first time warms up.
      if (time > 0) values.push(ns / packets.length);
    }
    return values;
  }

  /** Connections that are tracked. */
  connections(): number {
    return Number(this.#node.run("cat /proc/sys/net/netfilter/nf_conntrack_count"));
  }

  async #times(packets: readonly Packet[], forget: PaceOptions["forget"], times: number): Promise<readonly number[]> {
    const guess = await this.#node.pace(packets, { rounds: 4, forget });
    const rounds = Math.max(2, Math.min(2_000, Math.round(PASS_NS / guess / packets.length)));
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
  const counter = new WorkCounter(program, opening);
  if (state === "new") return fabric.push(opening, counter).verdict === "accept" ? counter.counts : undefined;
  for (const packet of [opening, answerTo(opening), nextOf(opening)]) {
    if (fabric.push(packet).verdict !== "accept") return undefined;
  }
  return fabric.push(nextOf(opening), counter).verdict === "accept" ? counter.counts : undefined;
}
