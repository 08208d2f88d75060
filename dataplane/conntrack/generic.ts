/**
 * Protocols of which nothing but the addresses is looked at, and GRE.
 *
 * One entry per pair of addresses and protocol. GRE is tracked by its addresses alone, as the kernel does for everything
 * but PPTP (whose call identifiers come from a helper that chainwalk has not). DCCP is here because Linux 6.17 removed its
 * tracker.
 */
import { addStatus, type Flow, OUTCOME, type Outcome, refresh, STATUS, statusOf } from "./flow.ts";
import { TIMEOUT_SLOT } from "./options.ts";

export function trackGeneric(flow: Flow): Outcome {
  refresh(flow, TIMEOUT_SLOT.generic);
  return OUTCOME.accept;
}

export function trackGre(flow: Flow): Outcome {
  const answered = (statusOf(flow) & STATUS.seenReply) !== 0;
  refresh(flow, answered ? TIMEOUT_SLOT.greStream : TIMEOUT_SLOT.gre);
  if (answered) addStatus(flow, STATUS.assured);
  return OUTCOME.accept;
}
