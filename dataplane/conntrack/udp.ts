/** UDP and UDP-Lite: an answer makes a connection, two seconds of traffic both ways a stream (nf_conntrack_proto_udp.c). */
import { addStatus, type Flow, isConfirmed, OUTCOME, type Outcome, refresh, STATUS, statusOf, WORD } from "./flow.ts";
import { TIMEOUT_SLOT } from "./options.ts";

/** A query and its one answer are over by then. */
const STREAM_AFTER_MS = 2000;

/** Word with the millisecond after which traffic both ways counts as a stream. */
const STREAM_AFTER = WORD.tracker;

export function trackUdp(flow: Flow): Outcome {
  const { words, at, now } = flow;
  if (!isConfirmed(flow)) words[at + STREAM_AFTER] = (now + STREAM_AFTER_MS) | 0;
  const answered = (statusOf(flow) & STATUS.seenReply) !== 0;
  const streaming = answered && ((now - (words[at + STREAM_AFTER] ?? 0)) | 0) > 0;
  refresh(flow, streaming ? TIMEOUT_SLOT.udpStream : TIMEOUT_SLOT.udp);
  if (streaming) addStatus(flow, STATUS.assured);
  return OUTCOME.accept;
}

/** Lives by the timeouts of UDP, but is a stream from its first answer on. */
export function trackUdpLite(flow: Flow): Outcome {
  const answered = (statusOf(flow) & STATUS.seenReply) !== 0;
  refresh(flow, answered ? TIMEOUT_SLOT.udpStream : TIMEOUT_SLOT.udp);
  if (answered) addStatus(flow, STATUS.assured);
  return OUTCOME.accept;
}
