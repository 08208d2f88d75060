/** verify: static checks on a Program, before it is loaded or rendered. */
import type { Program } from "../dataplane/program.ts";

/** What the kernel would refuse or loop on, in words; empty when the program is sound. */
export function verifyProgram(program: Program): readonly string[] {
  throw new Error(`verifyProgram is not written yet (${program.node})`);
}
