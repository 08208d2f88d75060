/** The packet under evaluation: one row of a batch in local fields, and what the walk learns about it. */
import { PACKET_FLAG, type PacketBatch } from "./packet.ts";

/**
 * One per evaluator, overwritten by each packet. Matches and sets read it; the walk writes the marks and the state.
 * Everything but the time is an int32 (the mark too, so that fields stay small integers to the JS engine).
 */
export class CurrentPacket {
  family = 4;
  protocol = 0;
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  /** The words that heads of rules test (tables/load.ts): the IPv4 address, or the last word of the IPv6 one. */
  headSource = 0;
  headDestination = 0;
  sourcePort = 0;
  destinationPort = 0;
  tcpFlags = 0;
  icmpType = 0;
  icmpCode = 0;
  icmpId = 0;
  /** 1 for second and later fragments, which carry no layer-4 header. */
  fragment = 0;
  /** Seconds. */
  time = 0;
  mark = 0;
  /** Mark of the connection; means something only while `tracked`. */
  connmark = 0;
  /** `CT_STATE_CODE`; what `-m conntrack` sees at this point of the way. */
  ctState = 0;
  /** Whether a connection belongs to the packet (not so when untracked or invalid). */
  tracked = false;
  /** Devices as the present hook sees them. */
  inDevice = 0;
  outDevice = 0;
  physInDevice = 0;
  physOutDevice = 0;
  /** Where answers about its addresses begin (classes/setAnswers.ts); -1: sets have to be asked. Whoever knows them sets them. */
  sourceAnswers = -1;
  destinationAnswers = -1;
  /** Hash sets consulted so far on this node. */
  setLookups = 0;
  /** Limits asked so far on this node, as match records: what makes an outcome depend on more than the packet. */
  readonly limits: number[] = [];

  /** Takes over what the packet itself says; state and devices are the hooks' business. */
  load(batch: PacketBatch, row: number): void {
    this.loadHeaders(batch, row);
    this.headSource = this.family === 4 ? this.source0 : this.source3;
    this.headDestination = this.family === 4 ? this.destination0 : this.destination3;
    this.icmpCode = batch.icmpCode[row] ?? 0;
    this.fragment = (batch.flags[row] ?? 0) & PACKET_FLAG.fragment;
    this.mark = (batch.mark[row] ?? 0) | 0;
    this.setLookups = 0;
    if (this.limits.length > 0) this.limits.length = 0;
  }

  /** Of that only the time and the headers, without what maps do not ask for. */
  loadHeaders(batch: PacketBatch, row: number): void {
    this.family = batch.family[row] ?? 0;
    this.protocol = batch.protocol[row] ?? 0;
    this.source0 = batch.source0[row] ?? 0;
    this.destination0 = batch.destination0[row] ?? 0;
    if (this.family === 6) this.#loadLongAddresses(batch, row);
    else this.#clearLongAddresses();
    this.sourcePort = batch.sourcePort[row] ?? 0;
    this.destinationPort = batch.destinationPort[row] ?? 0;
    this.tcpFlags = batch.tcpFlags[row] ?? 0;
    this.icmpType = batch.icmpType[row] ?? 0;
    this.icmpId = batch.icmpId[row] ?? 0;
    this.time = batch.time[row] ?? 0;
  }

  #loadLongAddresses(batch: PacketBatch, row: number): void {
    this.source1 = batch.source1[row] ?? 0;
    this.source2 = batch.source2[row] ?? 0;
    this.source3 = batch.source3[row] ?? 0;
    this.destination1 = batch.destination1[row] ?? 0;
    this.destination2 = batch.destination2[row] ?? 0;
    this.destination3 = batch.destination3[row] ?? 0;
  }

  #clearLongAddresses(): void {
    this.source1 = this.source2 = this.source3 = 0;
    this.destination1 = this.destination2 = this.destination3 = 0;
  }
}
