/** Manifests of `chainwalk serve`, and of `--open`: fetched from where the page came from. */
import type { ManifestFile } from "./messages.ts";

/** The server says in the page that it is one; other places that hold the files have no manifests. */
export function isServed(): boolean {
  return document.querySelector('meta[name="chainwalk"]')?.getAttribute("content") === "served";
}

export interface ServedFiles {
  readonly files: readonly ManifestFile[];
  readonly scenario?: ManifestFile | undefined;
}

export async function servedFiles(): Promise<ServedFiles> {
  const response = await fetch("./manifests.json");
  if (!response.ok) throw new Error(`the server says ${response.status}: ${await response.text()}`);
  return (await response.json()) as ServedFiles;
}
