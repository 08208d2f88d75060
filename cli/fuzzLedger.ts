/**
 * What a campaign has come to, in memory and on disk. The journal is lines of JSON that are only ever appended, and a file
 * is written before the line that speaks of it: whenever the process dies, what was kept and found is there.
 */

import type { FindingText, JobReport } from "../verify/fuzz/campaign.ts";
import { readConnection } from "../verify/fuzz/connectionFile.ts";
import { CONNECTIONS } from "../verify/fuzz/connectionTarget.ts";
import { clusterFromFile } from "../verify/fuzz/corpus.ts";
import { FORMATS } from "../verify/fuzz/formats.ts";
import { joinPath, readText } from "./input.ts";
import { type Io, UsageError } from "./io.ts";

export interface FuzzFolders {
  /** Undefined: nothing is kept but findings. */
  readonly corpus: string | undefined;
  readonly findings: string;
}

/** What a campaign is about, in the words of its flags: whoever goes on with it goes on with these. */
export interface CampaignFlags {
  readonly seed: number;
  readonly strategy: string;
  readonly against: string;
  readonly target: string;
}

type KeptFiles = Extract<JobReport, { kind: "kept" }>["files"];

/** One line of the journal. */
type JournalLine =
  | { readonly campaign: CampaignFlags }
  | { readonly runs: number; readonly seconds: number }
  | { readonly kept: readonly string[]; readonly features: readonly number[] }
  | { readonly finding: Omit<FindingText, "files"> };

const JOURNAL = "journal.jsonl";

/** Packets stand beside the manifests that count. */
const PACKETS = /^clusters\/.*\.jsonl$/;

const HISTORIES = "histories";

/** A history is a folder of two files; any other case is a file. */
function caseOf(path: string): string {
  return path.startsWith(`${HISTORIES}/`) ? path.split("/").slice(0, 2).join("/") : path;
}

export class FuzzLedger {
  runs = 0;
  seconds = 0;
  readonly features = new Set<number>();
  readonly findings: FindingText[] = [];
  /** The campaign that is gone on with; undefined: none is, or its journal was written before journals said so. */
  campaign: CampaignFlags | undefined;
  /** What the corpus held when the ledger was opened. */
  readonly #earlier: KeptFiles[number][] = [];
  readonly #io: Io;
  readonly #folders: FuzzFolders;
  readonly #kept = new Set<string>();

  private constructor(io: Io, folders: FuzzFolders) {
    this.#io = io;
    this.#folders = folders;
  }

  /** `resume`: runs, time and findings of the journal's last campaign count. The cases of the corpus are read in any case. */
  static async open(io: Io, folders: FuzzFolders, how: "resume" | CampaignFlags): Promise<FuzzLedger> {
    const ledger = new FuzzLedger(io, folders);
    const { corpus } = folders;
    if (corpus === undefined) return ledger;
    for (const target of [CLUSTERS, CONNECTIONS, ...FORMATS.map(({ name }) => name)])
      await ledger.#readCases(corpus, target);
    await ledger.#countHistories(corpus);
    if (how === "resume") await ledger.#readJournal(joinPath(corpus, JOURNAL));
    else await ledger.#beginJournal(joinPath(corpus, JOURNAL), how);
    return ledger;
  }

  get corpusSize(): number {
    return this.#kept.size;
  }

  get earlier(): KeptFiles {
    return this.#earlier;
  }

  async #readCases(corpus: string, target: string): Promise<void> {
    const folder = joinPath(corpus, target);
    if ((await this.#io.kindOf(folder)) !== "folder") return;
    for (const { name, kind } of await this.#io.readdir(folder)) {
      const path = joinPath(target, name);
      if (kind !== "file" || PACKETS.test(path)) continue;
      const isText = target === CLUSTERS || target === CONNECTIONS;
      const content = isText
        ? await readText(this.#io, joinPath(folder, name))
        : await bytesOf(this.#io, joinPath(folder, name));
      const file = { path, content };
      // A file that was being written when the process died is of no use.
      if (target === CLUSTERS && clusterFromFile(file) === undefined) continue;
      if (target === CONNECTIONS && "message" in readConnection(path, String(content))) continue;
      this.#earlier.push(file);
      this.#kept.add(file.path);
    }
  }

  /** Nothing is drawn from them: they are counted. */
  async #countHistories(corpus: string): Promise<void> {
    const folder = joinPath(corpus, HISTORIES);
    if ((await this.#io.kindOf(folder)) !== "folder") return;
    for (const { name, kind } of await this.#io.readdir(folder)) {
      if (kind === "folder") this.#kept.add(joinPath(HISTORIES, name));
    }
  }

  async #readJournal(path: string): Promise<void> {
    if ((await this.#io.kindOf(path)) !== "file") throw new UsageError(`${path}: no journal to go on with`);
    const journal = await readText(this.#io, path);
    // The line at which the process died; what is added now is a line of its own.
    if (journal !== "" && !journal.endsWith("\n")) await this.#io.appendFile(path, "\n");
    for (const text of journal.split("\n")) {
      const line = journalLine(text);
      if (line === undefined) continue;
      if ("campaign" in line) this.#begin(line.campaign);
      else if ("runs" in line) {
        this.runs += line.runs;
        this.seconds += line.seconds;
      } else if ("kept" in line) for (const feature of line.features) this.features.add(feature);
      else if (!this.findings.some(({ cause }) => cause === line.finding.cause)) {
        this.findings.push({ ...line.finding, files: [] });
      }
    }
  }

  /** Behind whatever is there; its last line may have no end. */
  async #beginJournal(path: string, campaign: CampaignFlags): Promise<void> {
    if ((await this.#io.kindOf(path)) === "file") await this.#io.appendFile(path, "\n");
    await this.#write({ campaign });
  }

  /** What came before was another campaign in the same corpus. */
  #begin(campaign: CampaignFlags): void {
    this.campaign = campaign;
    this.runs = 0;
    this.seconds = 0;
    this.features.clear();
    this.findings.length = 0;
  }

  /** Counts runs; `spend` writes them down. */
  ran(runs: number): void {
    this.runs += runs;
  }

  async keep(files: KeptFiles, features: readonly number[]): Promise<void> {
    for (const feature of features) this.features.add(feature);
    const names = files.map(({ path }) => path).filter((path) => !PACKETS.test(path));
    for (const name of names) this.#kept.add(caseOf(name));
    const { corpus } = this.#folders;
    if (corpus === undefined) return;
    for (const { path, content } of files) await this.#io.writeFile(joinPath(corpus, path), content);
    await this.#write({ kept: names, features });
  }

  /** Writes it down. False: its cause is known already. */
  async find(finding: FindingText): Promise<boolean> {
    if (this.findings.some(({ cause }) => cause === finding.cause)) return false;
    this.findings.push(finding);
    const folder = joinPath(this.#folders.findings, finding.name);
    for (const { path, content } of finding.files) await this.#io.writeFile(joinPath(folder, path), content);
    const { files: _files, ...rest } = finding;
    await this.#write({ finding: rest });
    return true;
  }

  /** Runs and seconds since the last time. */
  async spend(runs: number, seconds: number): Promise<void> {
    this.seconds += seconds;
    await this.#write({ runs, seconds });
  }

  async #write(line: JournalLine): Promise<void> {
    const { corpus } = this.#folders;
    if (corpus !== undefined) await this.#io.appendFile(joinPath(corpus, JOURNAL), `${JSON.stringify(line)}\n`);
  }
}

const CLUSTERS = "clusters";

/** The whole file as it is. */
export async function bytesOf(io: Io, path: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of io.readStream(path)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

/** Undefined: the last line, cut short when the process died. */
function journalLine(text: string): JournalLine | undefined {
  try {
    const line: unknown = text === "" ? undefined : JSON.parse(text);
    return typeof line === "object" && line !== null ? (line as JournalLine) : undefined; // nobody but `#write` makes them
  } catch {
    return undefined;
  }
}
