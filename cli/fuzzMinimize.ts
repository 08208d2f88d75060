/** `fuzz minimize FILE`: one case, or one input, made as small as it goes while it still shows what is wrong. */
import { strategyNamed } from "../compiler/strategies/registry.ts";
import {
  againstOf,
  connectionFinding,
  type FindingText,
  findingText,
  inputFinding,
  retryCase,
  SHRINK_BUDGET,
} from "../verify/fuzz/campaign.ts";
import type { FuzzCase } from "../verify/fuzz/case.ts";
import { readConnection } from "../verify/fuzz/connectionFile.ts";
import { holdConnections, leastConnection } from "../verify/fuzz/connectionTarget.ts";
import { type Contest, FreshCourt } from "../verify/fuzz/contest.ts";
import { formatNamed, type InputFormat } from "../verify/fuzz/formats.ts";
import { leastInput, tryInput } from "../verify/fuzz/inputTarget.ts";
import { minimize } from "../verify/fuzz/minimize.ts";
import { readCase } from "../verify/fuzz/readCase.ts";
import { bytesOf } from "./fuzzLedger.ts";
import { hire, processMeter } from "./fuzzSurroundings.ts";
import { joinPath, readText } from "./input.ts";
import { InvalidInput, UsageError } from "./io.ts";
import type { Session } from "./session.ts";

export interface MinimizeOptions {
  readonly session: Session;
  readonly path: string;
  readonly strategies: readonly string[];
  readonly against: readonly string[];
  readonly targets: readonly string[];
}

/** What is wrong with the file, by cause; empty: nothing. */
export async function minimizeFile(options: MinimizeOptions): Promise<readonly FindingText[]> {
  const { path, session, targets } = options;
  if ((await session.io.kindOf(path)) === undefined) throw new UsageError(`${path}: no such file or folder`);
  const format = formatNamed(targets[0] ?? "");
  if (format !== undefined) return minimizeInput(options, format);
  if (targets[0] === "connections") return minimizeConnection(options);
  const subject = await caseAt(path, session);
  const court = new FreshCourt();
  const found: FindingText[] = [];
  for (const name of options.strategies) {
    const accused = strategyNamed(name);
    if (accused === undefined) continue;
    for (const against of options.against) {
      const contest: Contest = { accused, against: againstOf(against, hire) };
      const disagreement = await retryCase(court, contest, subject);
      if (disagreement === undefined) continue;
      const finding = await minimize(subject, disagreement, {
        retry: (candidate) => retryCase(court, contest, candidate),
        budget: SHRINK_BUDGET,
      });
      if (finding !== undefined) found.push(findingText(finding));
    }
  }
  return found;
}

async function minimizeInput({ path, session }: MinimizeOptions, format: InputFormat): Promise<readonly FindingText[]> {
  const meter = processMeter();
  const bytes = await bytesOf(session.io, path);
  const tried = await tryInput(format, bytes, meter);
  if (!("misdeed" in tried)) return [];
  const least = await leastInput({ format, meter }, bytes, tried);
  return [inputFinding({ kind: "input", format: format.name, ...least })];
}

async function minimizeConnection({ path, session }: MinimizeOptions): Promise<readonly FindingText[]> {
  const subject = readConnection(path, await readText(session.io, path));
  if ("message" in subject) {
    await session.report([subject]);
    throw new InvalidInput();
  }
  const parting = holdConnections(subject);
  return parting === undefined ? [] : [connectionFinding(await leastConnection(subject, parting))];
}

/** A scenario folder or its `scenario.yaml`, or manifests of a corpus with their packets beside them. */
async function caseAt(path: string, session: Session): Promise<FuzzCase> {
  const { io } = session;
  const file = async (name: string) => ({ name, text: await readText(io, name) });
  const folder = (await io.kindOf(path)) === "folder" ? path : path.replace(/\/?scenario\.ya?ml$/, "");
  const isScenario = folder !== path || (await io.kindOf(path)) === "folder";
  const packets = path.replace(/\.[^.]*$/, ".jsonl");
  const { case: subject, issues } = readCase(
    isScenario
      ? {
          cluster: await file(joinPath(folder === "" ? "." : folder, "cluster.yaml")),
          scenario: await file(joinPath(folder === "" ? "." : folder, "scenario.yaml")),
        }
      : {
          cluster: await file(path),
          ...((await io.kindOf(packets)) === "file" && packets !== path && { packets: await file(packets) }),
        },
  );
  await session.report(issues);
  if (subject === undefined) throw new InvalidInput();
  return subject;
}
