/** The two bits of the packet mark that kube-router uses. */

/** Something in this pod's chain allowed the packet. Cleared at the chain's end. */
export const ALLOWED_MARK = 0x10000;
/** At least one pod's chain let the packet through. */
export const PASSED_MARK = 0x20000;
