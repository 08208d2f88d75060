/** Manifests of `chainwalk serve`: fetched from where the page came from, and again when they change. */
import type { ManifestFile } from "./messages.ts";
import { files, load, openFiles, origin, report } from "./state.ts";

/** The server says in the page that it is one; other places that hold the files have no manifests. */
export function isServed(): boolean {
  return document.querySelector('meta[name="chainwalk"]')?.getAttribute("content") === "served";
}

interface Served {
  readonly files: readonly ManifestFile[];
}

export async function servedFiles(): Promise<readonly ManifestFile[]> {
  const response = await fetch("./manifests.json");
  if (!response.ok) throw new Error(`the server says ${response.status}: ${await response.text()}`);
  const { files: found } = (await response.json()) as Served;
  return found;
}

/** What the person has edited here is left alone. */
export function followServer(): void {
  new EventSource("./changes").addEventListener("message", async () => {
    if (origin.value.kind !== "served") return;
    try {
      const found = await servedFiles();
      if (found.length !== files.value.length) await openFiles(found, undefined, { kind: "served" });
      else {
        files.value = found;
        await load();
      }
    } catch (error) {
      report(error);
    }
  });
}
