/** `serve`: the page, on the loopback address, with the manifests of `-f` loaded and loaded again when they change. */
import type { Command } from "commander";
import { addInputFlags, type InputFlags, wholeNumber } from "./flags.ts";
import { joinPath, readManifests, readText } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { PageServer, type ServedFiles } from "./pageServer.ts";
import type { Session } from "./session.ts";

interface ServeFlags extends InputFlags {
  readonly port: number;
  readonly open?: boolean;
}

/** The port of `serve` unless the flag says otherwise. */
const DEFAULT_PORT = 8713;

export function define(command: Command, session: Session): void {
  addInputFlags(command)
    .option("--port <N>", "of the loopback address; 0 takes one that is free", wholeNumber(0, 65_535), DEFAULT_PORT)
    .option("--open", "open it in the browser")
    .action((flags: ServeFlags) => serve(flags, session));
}

async function serve({ filename: paths, port, open }: ServeFlags, session: Session): Promise<void> {
  const { address, end } = await startPage(session, { port, paths });
  await session.out.line(`${address}/`);
  await session.out.flush();
  await session.note(`serving ${paths.length === 0 ? "the examples" : paths.join(", ")}; Ctrl-C ends it`);
  if (open === true) await openAddress(session, `${address}/`);
  await end;
  session.end(EXIT.fine);
}

export interface PageOptions {
  readonly port: number;
  /** Of manifests; none: the page shows its examples. */
  readonly paths: readonly string[];
  /** Of a scenario's steps. */
  readonly scenario?: string;
}

export interface RunningPage {
  readonly address: string;
  /** Resolves when the person has pressed Ctrl-C and nothing is served any more. */
  readonly end: Promise<void>;
}

/** Serves the page from now on. */
export async function startPage(session: Session, { port, paths, scenario }: PageOptions): Promise<RunningPage> {
  const { io } = session;
  const folder = io.pageFolder();
  if ((await io.kindOf(joinPath(folder, "index.html"))) !== "file")
    throw new UsageError(`${folder} holds no page: this checkout has not been built (npm run build)`);
  const served = async (): Promise<ServedFiles> => ({
    files: paths.length === 0 ? [] : await readManifests(io, paths),
    ...(scenario !== undefined && { scenario: { name: scenario, text: await readText(io, scenario) } }),
  });
  // Read once before anything is served, so that a wrong path is an error and not an empty page.
  await served();
  const server = new PageServer(served, folder);
  let address: string;
  try {
    address = await server.listen(port);
  } catch (error) {
    throw new UsageError(`--port ${port}: ${error instanceof Error ? error.message : String(error)}`);
  }
  server.watch([...paths.filter((path) => path !== "-"), ...(scenario === undefined ? [] : [scenario])]);
  return { address, end: interruption(io.interrupted).then(() => server.close()) };
}

function interruption(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** In the person's browser; where that does not work, the person is told, and has the address. */
export async function openAddress(session: Session, link: string): Promise<void> {
  const ends = session.io.openBrowser(link).then(async (problem) => {
    if (problem !== undefined) await session.note(`no browser was opened: ${problem}; the address is the same in any`);
  });
  // An opener may last as long as the browser does, and Ctrl-C need not wait for it.
  await Promise.race([ends, interruption(session.io.interrupted)]);
}
