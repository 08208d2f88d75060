/** What is fetched apart: files beside the page. Where the page is one file, `carriedAlong.ts` stands in the place of this. */

export function makeWorker(): Worker {
  return new Worker(new URL("./worker.ts", import.meta.url));
}

export function makeReports(): Worker {
  return new Worker(new URL("./reports.ts", import.meta.url));
}

export async function loadTexts(): Promise<Readonly<Record<string, string>>> {
  return (await import("./bundledTexts.ts")).TEXTS;
}
