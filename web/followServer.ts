/** Manifests of the server are fetched again when they change. */
import { servedFiles } from "./served.ts";
import { files, load, openFiles, origin, report, scenario } from "./state.ts";

/** What the person has edited here is left alone. */
export function followServer(): void {
  new EventSource("./changes").addEventListener("message", async () => {
    if (origin.value.kind !== "served") return;
    try {
      const found = await servedFiles();
      if (found.files.length !== files.value.length) await openFiles(found.files, found.scenario, { kind: "served" });
      else {
        files.value = found.files;
        scenario.value = found.scenario;
        await load();
      }
    } catch (error) {
      report(error);
    }
  });
}
