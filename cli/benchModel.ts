/** `bench calibrate` and `bench validate`: what rules cost this machine's kernel, and how well that is predicted. */
import { type Command, Option } from "commander";
import { environmentOf } from "../bench/environment.ts";
import { calibrate, measurementsOf } from "../bench/kernel/calibrate.ts";
import { type Validation, validate, validationsOf } from "../bench/kernel/validate.ts";
import { type CostProfile, NotAProfile, readProfile } from "../bench/model/profile.ts";
import { formatCalibration, formatValidations } from "../format/bench/model.ts";
import { missingCapabilities, reasonAgainst } from "../verify/kernel/capabilities.ts";
import { addMannerFlags, addOutputFlag, type MannerFlags, wholeNumber } from "./flags.ts";
import { readText } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

interface CalibrateFlags extends MannerFlags {
  readonly variant: "legacy" | "nft";
  readonly name: string;
  readonly passes: number;
  readonly seed: number;
  readonly save?: string;
  readonly output: "table" | "json";
}

interface ValidateFlags extends MannerFlags {
  readonly profile?: string;
  readonly strategy: string;
  readonly seed: number;
  readonly output: "table" | "json" | "md";
}

export function defineCalibrate(command: Command, session: Session): void {
  addOutputFlag(addMannerFlags(command), ["table", "json"])
    .description("find what each kind of work costs the Linux kernel of this machine (needs root)")
    .addOption(new Option("--variant <NAME>", "how rules are run").choices(["legacy", "nft"]).default("legacy"))
    .option("--name <NAME>", "what the profile is called", "this-host")
    .option("--passes <N>", "how often everything is measured", wholeNumber(1, 1_000), 4)
    .option("--seed <N>", "of the error bars", wholeNumber(0, 0xffff_ffff), 1)
    .option("--save <FILE>", "where the profile is written, as JSON")
    .action((flags: CalibrateFlags) => runCalibrate(flags, session));
}

export function defineValidate(command: Command, session: Session): void {
  addOutputFlag(addMannerFlags(command), ["table", "json", "md"])
    .description("whole programs in the Linux kernel: what is predicted beside what is measured (needs root)")
    .option("--profile <FILE>", "a profile that bench calibrate wrote; when left out, one is made first")
    .option("-s, --strategy <NAME[,NAME]|all>", "whose programs", "all")
    .option("--seed <N>", "of clusters and traffic", wholeNumber(0, 0xffff_ffff), 1)
    .action((flags: ValidateFlags) => runValidate(flags, session));
}

/** Whether the kernel can be asked; says what is missing when not. */
async function kernelIsThere(session: Session): Promise<boolean> {
  const reason = reasonAgainst(await missingCapabilities(), "judge");
  if (reason === undefined) return true;
  await session.error(`the kernel cannot be measured here: ${reason}`);
  session.end(EXIT.incapable);
  return false;
}

/** Whether it also runs eBPF programs; says what is missing when not. */
async function hasMaps(session: Session): Promise<boolean> {
  const reason = reasonAgainst(await missingCapabilities(), "bpf");
  if (reason !== undefined) await session.note(`maps are left out: ${reason}`);
  return reason === undefined;
}

async function runCalibrate(flags: CalibrateFlags, session: Session): Promise<void> {
  if (!(await kernelIsThere(session))) return;
  const profile = await calibrated({ ...flags, maps: await hasMaps(session) }, session);
  if (profile === undefined) return;
  if (flags.save !== undefined) {
    await session.io.writeFile(flags.save, `${JSON.stringify(profile, undefined, 2)}\n`);
    await session.note(`written to ${flags.save}`);
  }
  for (const line of formatCalibration(profile, flags.output, session.paint)) await session.out.line(line);
}

async function calibrated(
  {
    variant,
    name,
    passes,
    seed,
    maps,
  }: Pick<CalibrateFlags, "variant" | "name" | "passes" | "seed"> & { maps: boolean },
  session: Session,
): Promise<CostProfile | undefined> {
  const progress = session.progress("measurements", measurementsOf({ passes, maps }));
  const environment = environmentOf({ seed, processes: 1, version: session.io.version() });
  const proceed = () => progress.step();
  const calibration = await calibrate({ name, variant, environment, seed, passes, maps, proceed });
  await progress.done();
  if (calibration === undefined)
    await session.note("stopped before every kind of work was measured once: nothing to fit");
  return calibration?.profile;
}

async function runValidate(flags: ValidateFlags, session: Session): Promise<void> {
  const strategies = strategiesOf(flags);
  const given = flags.profile === undefined ? undefined : await profileFrom(flags.profile, session);
  if (!(await kernelIsThere(session))) return;
  const maps = await hasMaps(session);
  const profile =
    given ?? (await calibrated({ variant: "legacy", name: "this-host", passes: 3, seed: flags.seed, maps }, session));
  if (profile === undefined) return;
  const progress = session.progress("programs", validationsOf(strategies));
  const rows: Validation[] = [];
  const proceed = () => progress.step();
  try {
    for await (const row of validate({ strategies, profile, seed: flags.seed, maps, proceed })) rows.push(row);
  } catch (error) {
    // Ctrl-C reaches the tools that load rules as well; what is done is kept.
    if (!session.io.interrupted.aborted) throw error;
  }
  await progress.done();
  for (const line of formatValidations(rows, flags.output, session.paint)) await session.out.line(line);
}

export async function profileFrom(path: string, session: Session): Promise<CostProfile> {
  try {
    return readProfile(await readText(session.io, path));
  } catch (error) {
    if (!(error instanceof NotAProfile)) throw error;
    throw new UsageError(`${path}: not what bench calibrate writes: ${error.message}`);
  }
}
