/** Columns that grow. */

export function grown<T extends ArrayBufferView & { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  discard(from);
  return to;
}

/**
 * Gives the memory of columns back at once. V8 looks for what is unreachable after 64 MB of it, which is more than the tables of most
 * recordings; what is sent to a port that is closed is gone when it is sent.
 */
function discard({ buffer }: ArrayBufferView): void {
  const { port1 } = new MessageChannel();
  port1.close();
  port1.postMessage(undefined, [buffer as ArrayBuffer]);
}
