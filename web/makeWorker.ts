/** The workers: files beside the page, or, where the page is one file, the texts that it carries along. */
export function makeWorker(): Worker {
  return carried("worker") ?? new Worker(new URL("./worker.ts", import.meta.url));
}

export function makeReports(): Worker {
  return carried("reports") ?? new Worker(new URL("./reports.ts", import.meta.url));
}

function carried(id: string): Worker | undefined {
  const text = document.getElementById(id)?.textContent;
  if (text === undefined || text === null) return undefined;
  return new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
}
