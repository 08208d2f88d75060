/**
 * Whether this machine can be asked what its kernel does. Without root or the tools, tests of the kernel judge are
 * skipped with one line that says what is missing; CI must have everything.
 */
import { type KernelFeature, missingCapabilities, reasonAgainst } from "../../verify/kernel/capabilities.ts";

const missing = await missingCapabilities();

/** For `describe.runIf(hasKernel("judge"))`. */
export function hasKernel(feature: KernelFeature): boolean {
  const reason = reasonAgainst(missing, feature);
  if (reason === undefined) return true;
  if (process.env.CI) throw new Error(`CI needs the kernel judge (${feature}): ${reason}`);
  console.warn(`skipped: tests of the kernel judge (${feature}): ${reason}`);
  return false;
}
