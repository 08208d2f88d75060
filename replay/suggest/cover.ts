/**
 * The fewest rules for what is needed. A rule allows every one of its peers every one of its ports, so rules are complete
 * rectangles in the table of peers and ports, and the fewest rules are the fewest rectangles that cover exactly what is
 * marked: minimum biclique cover, which is NP-hard in general. Rows with equal ports are one row here, and what is left of
 * a real workload's peers is a handful: then the answer is exact. Beyond it the greedy cover is taken.
 */
export interface Rectangle {
  readonly rows: readonly number[];
  readonly ports: readonly string[];
}

/** Distinct rows up to which all rectangles are tried. */
const EXACT_ROWS = 10;
/** Steps of the exact search; beyond them the best cover so far stands. */
const MAX_STEPS = 20_000;

/** `rows[i]`: what row i needs. The rectangles cover exactly these; rows are indices into `rows`. */
export function fewestRectangles(rows: readonly ReadonlySet<string>[]): readonly Rectangle[] {
  const distinct = distinctRows(rows);
  const rectangles = distinct.length <= EXACT_ROWS ? maximalRectangles(distinct) : simpleRectangles(distinct);
  const greedy = greedyCover(distinct, rectangles);
  const best = distinct.length <= EXACT_ROWS ? new CoverSearch(distinct, rectangles).fewer(greedy) : greedy;
  return trimmed(best).map(({ rows: own, ports }) => ({
    rows: own.flatMap((row) => distinct[row]?.members ?? []),
    ports,
  }));
}

/** Rectangles may overlap; what another one has as a whole row or port is taken out, for people to read less. */
function trimmed(cover: readonly Rectangle[]): readonly Rectangle[] {
  const times = new Map<string, number>();
  for (const cell of cover.flatMap(cellsOf)) times.set(cell, (times.get(cell) ?? 0) + 1);
  const result = cover.map((rectangle) => {
    const isAlone = (row: number, port: string): boolean => times.get(cellOf(row, port)) === 1;
    const ports = rectangle.ports.filter((port) => rectangle.rows.some((row) => isAlone(row, port)));
    const rows = rectangle.rows.filter((row) => ports.some((port) => isAlone(row, port)));
    const left = { rows, ports };
    for (const cell of cellsOf(rectangle)) times.set(cell, (times.get(cell) ?? 0) - 1);
    for (const cell of cellsOf(left)) times.set(cell, (times.get(cell) ?? 0) + 1);
    return left;
  });
  return result.filter(({ rows, ports }) => rows.length > 0 && ports.length > 0);
}

interface DistinctRow {
  readonly ports: ReadonlySet<string>;
  readonly members: number[];
}

function distinctRows(rows: readonly ReadonlySet<string>[]): readonly DistinctRow[] {
  const found = new Map<string, DistinctRow>();
  for (const [index, ports] of rows.entries()) {
    const key = [...ports].sort().join(" ");
    const row = found.get(key) ?? { ports, members: [] };
    found.set(key, row);
    row.members.push(index);
  }
  return [...found.values()];
}

/** Every rectangle that no other contains: the ports some rows have in common, and all rows that have them. */
function maximalRectangles(rows: readonly DistinctRow[]): readonly Rectangle[] {
  const found = new Map<string, Rectangle>();
  for (let subset = 1; subset < 1 << rows.length; subset++) {
    const chosen = rows.filter((_, index) => (subset & (1 << index)) !== 0);
    const [first, ...others] = chosen;
    const ports = [...(first?.ports ?? [])].filter((port) => others.every((row) => row.ports.has(port))).sort();
    if (ports.length === 0) continue;
    const all = rows.flatMap((row, index) => (ports.every((port) => row.ports.has(port)) ? [index] : []));
    found.set(ports.join(" "), { rows: all, ports });
  }
  return [...found.values()];
}

/** A rectangle for each row, and one for each port. */
function simpleRectangles(rows: readonly DistinctRow[]): readonly Rectangle[] {
  const columns = new Map<string, number[]>();
  for (const [index, row] of rows.entries()) {
    for (const port of row.ports) {
      const own = columns.get(port);
      if (own === undefined) columns.set(port, [index]);
      else own.push(index);
    }
  }
  return [
    ...rows.map((row, index) => ({ rows: [index], ports: [...row.ports].sort() })),
    ...[...columns.keys()].sort().map((port) => ({ rows: columns.get(port) ?? [], ports: [port] })),
  ];
}

function cellOf(row: number, port: string): string {
  return `${row} ${port}`;
}

function cellsOf({ rows, ports }: Rectangle): readonly string[] {
  return rows.flatMap((row) => ports.map((port) => cellOf(row, port)));
}

function allCells(rows: readonly DistinctRow[]): readonly string[] {
  return rows.flatMap(({ ports }, row) => [...ports].map((port) => cellOf(row, port)));
}

/** For each cell the rectangles that have it, in their order. */
function rectanglesOfCells(rectangles: readonly Rectangle[]): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, number[]>();
  for (const [index, rectangle] of rectangles.entries()) {
    for (const cell of cellsOf(rectangle)) {
      const own = found.get(cell);
      if (own === undefined) found.set(cell, [index]);
      else own.push(index);
    }
  }
  return found;
}

/**
 * The rectangle with most open cells, the first of such, until no cell is open. What a rectangle still covers only gets
 * less, so rectangles wait by what they covered when last looked at, and go down when their turn comes: each cell is
 * taken from the rectangles that have it once.
 */
function greedyCover(rows: readonly DistinctRow[], rectangles: readonly Rectangle[]): readonly Rectangle[] {
  const open = new Set(allCells(rows));
  const having = rectanglesOfCells(rectangles);
  const counts = rectangles.map(({ rows: own, ports }) => own.length * ports.length);
  const waiting: number[][] = [];
  const wait = (index: number): void => {
    const count = counts[index] ?? 0;
    const list = waiting[count];
    if (list === undefined) waiting[count] = [index];
    else list.push(index);
  };
  for (const index of rectangles.keys()) wait(index);
  const cover: Rectangle[] = [];
  for (let most = waiting.length - 1; most > 0; most--) {
    for (const index of (waiting[most] ?? []).sort((a, b) => a - b)) {
      const rectangle = rectangles[index];
      if (rectangle === undefined) continue;
      if (counts[index] !== most) {
        wait(index);
        continue;
      }
      for (const cell of cellsOf(rectangle)) {
        if (!open.delete(cell)) continue;
        for (const other of having.get(cell) ?? []) counts[other] = (counts[other] ?? 0) - 1;
      }
      cover.push(rectangle);
    }
  }
  if (open.size > 0) throw new Error(`${open.size} cells that no rectangle covers`);
  return cover;
}

/** Looks for a cover with one rectangle less, until there is none: each step covers the first open cell in every way. */
class CoverSearch {
  readonly #cells: readonly string[];
  readonly #rectangles: readonly Rectangle[];
  readonly #covering: ReadonlyMap<string, readonly number[]>;
  #steps = 0;

  constructor(rows: readonly DistinctRow[], rectangles: readonly Rectangle[]) {
    this.#cells = allCells(rows);
    this.#rectangles = rectangles;
    this.#covering = rectanglesOfCells(rectangles);
  }

  fewer(known: readonly Rectangle[]): readonly Rectangle[] {
    let best = known;
    for (;;) {
      const found = this.#search(new Set(), [], best.length - 1);
      if (found === undefined) return best;
      best = found;
    }
  }

  #search(covered: ReadonlySet<string>, chosen: readonly Rectangle[], most: number): readonly Rectangle[] | undefined {
    const cell = this.#cells.find((candidate) => !covered.has(candidate));
    if (cell === undefined) return chosen;
    if (chosen.length >= most || ++this.#steps > MAX_STEPS) return undefined;
    for (const index of this.#covering.get(cell) ?? []) {
      const rectangle = this.#rectangles[index];
      if (rectangle === undefined) continue;
      const found = this.#search(new Set([...covered, ...cellsOf(rectangle)]), [...chosen, rectangle], most);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
