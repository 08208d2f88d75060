/** What the page carries along as texts where it is one file, which has nothing beside it. */

export function makeWorker(): Worker {
  return new Worker(carried("worker"));
}

export function makeReports(): Worker {
  return new Worker(carried("reports"));
}

export async function loadTexts(): Promise<Readonly<Record<string, string>>> {
  const module = (await import(/* @vite-ignore */ carried("bundledTexts"))) as typeof import("./bundledTexts.ts");
  return module.TEXTS;
}

function carried(id: string): string {
  const text = document.getElementById(id)?.textContent ?? "";
  return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}
