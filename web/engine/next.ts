/** What is sent next: the reply, the same packet again, or an error about it. */
import { type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { answerTo, errorAbout } from "../../verify/answer.ts";
import { REFERENCE } from "../../verify/lane.ts";
import { runScenario } from "../../verify/scenarioRun.ts";
import type { NextAnswer, NextAsk, WalkTarget } from "../messages.ts";
import type { Bench } from "./bench.ts";
import { pushTarget, readPackets } from "./push.ts";
import { Refusal } from "./refusal.ts";

export function nextPacket(bench: Bench, { kind, target }: NextAsk): NextAnswer {
  const packets = packetsOf(bench, target);
  const last = packets.at(-1);
  if (last === undefined) throw new Refusal("no packet yet");
  return { packets: [...packets, following(last, kind)].map((packet) => packetToObject(packet)) };
}

function packetsOf(bench: Bench, target: WalkTarget): readonly Packet[] {
  if (target.kind === "packets") return readPackets(bench, target);
  if (target.kind === "moment") return [pushTarget(bench, REFERENCE, target).packet];
  const { scenario, objects, cluster } = bench;
  const packets: Packet[] = [];
  for (const event of runScenario({ scenario, objects, cluster, lane: bench.freshLane(REFERENCE) })) {
    if (event.step.number > target.step) break;
    if (event.kind === "packet") packets.push(event.outcome.packet);
  }
  return packets;
}

function following(last: Packet, kind: NextAsk["kind"]): Packet {
  switch (kind) {
    case "retransmission":
      return last;
    case "reply": {
      const answer = answerTo(last);
      // The third packet of a handshake acknowledges, and asks for nothing more.
      const isSynAck = last.protocol === PROTOCOL.tcp && (last.tcpFlags & SYN_ACK) === SYN_ACK;
      return isSynAck ? { ...answer, tcpFlags: TCP_FLAG.A } : answer;
    }
    case "error":
      return errorAbout(last);
  }
}

const SYN_ACK = TCP_FLAG.S | TCP_FLAG.A;
