/** Several captures: how far apart the clocks are that they were made with. */
import { type ClockDifference, type ClockSample, clockDifferences, clockSample, sampleRows } from "../replay/clocks.ts";
import { UsageError } from "./io.ts";
import { openFile, type TrafficIo } from "./replayTraffic.ts";

/** By file. What is no file (standard input, a pipe) can be read only once, and a log has no packets to compare: both are taken to be right. */
export async function clocksOf(io: TrafficIo, names: readonly string[]): Promise<readonly ClockDifference[]> {
  if (names.length < 2) return [];
  const samples: (ClockSample | undefined)[] = [];
  for (const name of names) samples.push(name === "-" ? undefined : await sampleOf(io, name, sampleRows(names.length)));
  return clockDifferences(samples);
}

/** Whatever is wrong with a file is said when it is replayed. */
async function sampleOf(io: TrafficIo, name: string, rows: number): Promise<ClockSample | undefined> {
  if ((await io.kindOf(name)) !== "file" || (await io.sizeOf(name)) === undefined) return undefined;
  try {
    const source = await openFile(io, name, { onRead: () => undefined, onIssue: () => undefined });
    return source.format === "pcap" || source.format === "pcapng" ? await clockSample(source, rows) : undefined;
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

/** What is done about clocks that differ, a sentence each. */
export function clockNotes(names: readonly string[], differences: readonly ClockDifference[]): readonly string[] {
  return differences.flatMap(({ seconds, against, matches }, index) => {
    if (seconds === 0) return [];
    const way = seconds > 0 ? "ahead of" : "behind";
    return [
      `${names[index]}: its clock is ${Math.abs(seconds).toFixed(3)} s ${way} that of ${names[0]}, say ${matches} packets that ${names[against]} has too; times are those of ${names[0]}`,
    ];
  });
}
