/** Felix's bits of the packet mark, allocated from the lowest of 0xffff0000 (felix/markbits, felix/dataplane/driver.go). */
export const MARK = {
  /** The endpoint's policy allows the packet. */
  accept: 0x10000,
  /** A policy passes the packet on to the next tier. */
  pass: 0x20000,
  /** In the filter table: all blocks of a rule hold. In the raw table: the packet came from a workload. */
  scratch0: 0x80000,
  /** One block of a rule holds; NetworkPolicy never needs it. */
  scratch1: 0x100000,
} as const;

/** What is cleared where a packet enters or leaves the host. The drop bit, 0x40000, is in no rule. */
export const ALL_MARKS = MARK.accept | MARK.pass | MARK.scratch0 | MARK.scratch1;
