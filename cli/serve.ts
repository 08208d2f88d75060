/** `serve`: the page, on the loopback address, with the manifests of `-f` loaded and loaded again when they change. */
import type { Command } from "commander";
import type { ManifestFile } from "../compiler/manifest/parse.ts";
import { addInputFlags, type InputFlags, wholeNumber } from "./flags.ts";
import { readManifests } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { openBrowser } from "./openBrowser.ts";
import { PageServer } from "./pageServer.ts";
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

async function serve(flags: ServeFlags, session: Session): Promise<void> {
  const hasManifests = flags.filename.length > 0;
  await servePage(session, {
    port: flags.port,
    fragment: "",
    open: flags.open === true,
    ...(hasManifests && { paths: flags.filename }),
  });
}

export interface ServeOptions {
  readonly port: number;
  /** What the page is to show: the part of the address after `#`, with it. */
  readonly fragment: string;
  readonly open: boolean;
  /** Of manifests; absent: the page shows its examples. */
  readonly paths?: readonly string[];
}

/** Serves until the person presses Ctrl-C. */
export async function servePage(session: Session, { port, fragment, open, paths }: ServeOptions): Promise<void> {
  // Read once before anything is served, so that a wrong path is an error and not an empty page. What standard input said is kept.
  const first = paths === undefined ? undefined : await readManifests(session.io, paths);
  const isStream = paths?.includes("-") === true;
  const manifests = async (): Promise<readonly ManifestFile[] | undefined> =>
    paths === undefined || isStream ? first : readManifests(session.io, paths);
  const server = new PageServer(manifests);
  let address: string;
  try {
    address = await server.listen(port);
  } catch (error) {
    throw new UsageError(`--port ${port}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const link = `${address}/${fragment}`;
  await session.out.line(link);
  await session.out.flush();
  await session.note(`serving ${paths === undefined ? "the examples" : paths.join(", ")}; Ctrl-C ends it`);
  if (paths !== undefined && !isStream) server.watch(paths);
  if (open) openBrowser(link);
  await new Promise<void>((resolve) => {
    if (session.io.interrupted.aborted) resolve();
    session.io.interrupted.addEventListener("abort", () => resolve(), { once: true });
  });
  await server.close();
  session.end(EXIT.fine);
}
