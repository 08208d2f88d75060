/**
 * How much the kernel is asked. `CHAINWALK_KERNEL_PACKETS` is the number of packets of a whole run: a sample for a plain
 * `npm test`, a million in CI (.ci/run). `CHAINWALK_KERNEL_SEED` draws other programs, clusters and packets.
 */

const SAMPLE = 10_000;

function numberFrom(variable: string, otherwise: number): number {
  const text = process.env[variable];
  if (text === undefined) return otherwise;
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0) throw new Error(`${variable}=${text}: want a whole number`);
  return number;
}

const total = numberFrom("CHAINWALK_KERNEL_PACKETS", SAMPLE);

export const SEED = numberFrom("CHAINWALK_KERNEL_SEED", 20_261_124);

/**
 * Parts of the whole, in hundredths: what the legacy tools load is asked most, walks cost most. Those of tables, connections
 * among them, add up to more than 100, so that the packets of a run are at least those asked for; maps have as many again.
 */
const SHARES = {
  "instructions legacy": 10,
  "instructions nft": 3,
  "strategies legacy": 44,
  "strategies legacy walks": 12,
  "strategies nft": 13,
  "real nodes": 3,
  connections: 20,
  maps: 100,
} as const;

/** Packets to compare in one part. */
export function packetsOf(part: keyof typeof SHARES): number {
  return Math.ceil((total * SHARES[part]) / 100);
}

/** How a failure is seen again. */
export function reproduceLine(file: string): string {
  return `CHAINWALK_KERNEL_SEED=${SEED} CHAINWALK_KERNEL_PACKETS=${total} npx vitest run ${file}`;
}
