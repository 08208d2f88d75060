/** What is fetched apart: files beside the page, or, where the page is one file, the texts that it carries along. */

export function makeWorker(): Worker {
  const address = carried("worker");
  return address === undefined ? new Worker(new URL("./worker.ts", import.meta.url)) : new Worker(address);
}

export function makeReports(): Worker {
  const address = carried("reports");
  return address === undefined ? new Worker(new URL("./reports.ts", import.meta.url)) : new Worker(address);
}

export async function loadTexts(): Promise<Readonly<Record<string, string>>> {
  const address = carried("bundledTexts");
  const { TEXTS } = await (address === undefined
    ? import("./bundledTexts.ts")
    : (import(/* @vite-ignore */ address) as Promise<typeof import("./bundledTexts.ts")>));
  return TEXTS;
}

function carried(id: string): string | undefined {
  const text = document.getElementById(id)?.textContent;
  if (text === undefined || text === null) return undefined;
  return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}
