/** The worker: a file beside the page, or, where the page is one file, the text that it carries along. */
export function makeWorker(): Worker {
  const carried = document.getElementById("worker");
  if (carried === null) return new Worker(new URL("./worker.ts", import.meta.url));
  const address = URL.createObjectURL(new Blob([carried.textContent ?? ""], { type: "text/javascript" }));
  return new Worker(address);
}
