/** A file as pieces, the next one on its way while one is worked on, in memory that is used again. */

/** Of a file at a time: what a piece costs beside its bytes is small then, and all that is on its way fits a cache of the second level. */
const PIECE_BYTES = 1 << 17;

/**
 * One is worked on, what is left of the one before may still be looked at until the first bytes of this one are taken (`ByteWindow`), and
 * one is being read into.
 */
const PIECES = 3;

/** A file that was opened: Node's `FileHandle` is one. */
export interface OpenedFile {
  /** Reads on, into all of `room` at most; 0: the file has ended. */
  read(room: Uint8Array): Promise<{ readonly bytesRead: number }>;
  close(): Promise<void>;
}

/**
 * The pieces of a file. A piece holds until the one after the next is asked for: then its memory is read into. Memory made for
 * each piece would have the collector run every few dozen megabytes, for what is a copy of nothing else.
 */
export async function* readAhead(open: () => Promise<OpenedFile>): AsyncGenerator<Uint8Array> {
  const file = await open();
  const rooms = Array.from({ length: PIECES }, () => new Uint8Array(PIECE_BYTES));
  let turn = 0;
  const readNext = (): Promise<Uint8Array> => {
    const room = rooms[turn++ % PIECES] as Uint8Array;
    const reading = file.read(room).then(({ bytesRead }) => room.subarray(0, bytesRead));
    // Whoever asks for the piece learns of its failure; until then nobody waits for it.
    reading.catch(() => undefined);
    return reading;
  };
  let ahead = readNext();
  try {
    for (let piece = await ahead; piece.length > 0; piece = await ahead) {
      ahead = readNext();
      yield piece;
    }
  } finally {
    // Not waited for: of a pipe in which nothing comes, what is on its way may never arrive.
    void ahead.catch(() => undefined).then(() => file.close());
  }
}
