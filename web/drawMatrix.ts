/** The heat map on its canvas: cells in sight, names beside them. */

/** Room for the names. */
export const GUTTER = { left: 168, top: 112 } as const;

export interface Colours {
  readonly text: string;
  readonly faint: string;
  readonly panel: string;
  readonly line: string;
  readonly accent: string;
  readonly cells: Readonly<Record<string, string>>;
  readonly font: string;
}

export interface MatrixPicture {
  readonly pods: readonly string[];
  /** Letters of a row; undefined: not known yet. */
  readonly rowOf: (index: number) => string | undefined;
  /** What the reference says. */
  readonly meantOf: (index: number) => string | undefined;
  readonly scroll: { readonly left: number; readonly top: number };
  readonly size: { readonly width: number; readonly height: number };
  readonly cursor: readonly [row: number, column: number] | undefined;
  readonly colours: Colours;
}

/** Pixels of a cell: few pods get large ones. */
export function cellOf(pods: number): number {
  if (pods <= 24) return 22;
  return pods <= 120 ? 14 : 9;
}

export function drawMatrix(canvas: HTMLCanvasElement, picture: MatrixPicture): void {
  const { size, colours, pods, scroll } = picture;
  const ratio = globalThis.devicePixelRatio;
  canvas.width = Math.round(size.width * ratio);
  canvas.height = Math.round(size.height * ratio);
  canvas.style.width = `${size.width}px`;
  canvas.style.height = `${size.height}px`;
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.scale(ratio, ratio);
  context.fillStyle = colours.panel;
  context.fillRect(0, 0, size.width, size.height);
  const cell = cellOf(pods.length);
  const rows = inSight(scroll.top, size.height - GUTTER.top, cell, pods.length);
  const columns = inSight(scroll.left, size.width - GUTTER.left, cell, pods.length);
  const x = (column: number) => GUTTER.left + column * cell - scroll.left;
  const y = (row: number) => GUTTER.top + row * cell - scroll.top;
  context.save();
  context.beginPath();
  context.rect(GUTTER.left, GUTTER.top, size.width - GUTTER.left, size.height - GUTTER.top);
  context.clip();
  for (let row = rows.first; row < rows.last; row++) {
    const letters = picture.rowOf(row);
    const meant = picture.meantOf(row);
    for (let column = columns.first; column < columns.last; column++) {
      const letter = letters?.[column];
      if (letter === undefined) continue;
      context.fillStyle = colours.cells[letter] ?? colours.line;
      context.fillRect(x(column), y(row), cell - 1, cell - 1);
      const should = meant?.[column];
      if (should === undefined || (should === ".") === (letter === ".")) continue;
      context.strokeStyle = colours.text;
      context.lineWidth = 2;
      context.strokeRect(x(column) + 1, y(row) + 1, cell - 3, cell - 3);
    }
  }
  if (picture.cursor !== undefined) {
    const [row, column] = picture.cursor;
    context.strokeStyle = colours.accent;
    context.lineWidth = 2;
    context.strokeRect(x(column) - 1, y(row) - 1, cell + 1, cell + 1);
  }
  context.restore();
  drawNames(context, picture, { rows, columns, cell });
}

interface Sight {
  readonly first: number;
  readonly last: number;
}

function inSight(scrolled: number, length: number, cell: number, count: number): Sight {
  return {
    first: Math.max(0, Math.floor(scrolled / cell)),
    last: Math.min(count, Math.ceil((scrolled + length) / cell)),
  };
}

function drawNames(
  context: CanvasRenderingContext2D,
  { pods, scroll, size, colours, cursor }: MatrixPicture,
  { rows, columns, cell }: { readonly rows: Sight; readonly columns: Sight; readonly cell: number },
): void {
  context.font = `${Math.min(12, cell + 1)}px ${colours.font}`;
  context.textBaseline = "middle";
  const look = (isChosen: boolean) => {
    context.fillStyle = isChosen ? colours.text : colours.faint;
  };
  context.save();
  context.beginPath();
  context.rect(0, GUTTER.top, GUTTER.left, size.height);
  context.clip();
  context.textAlign = "right";
  for (let row = rows.first; row < rows.last; row++) {
    look(cursor?.[0] === row);
    context.fillText(
      shortened(pods[row] ?? "", ROW_NAME),
      GUTTER.left - 8,
      GUTTER.top + row * cell - scroll.top + cell / 2,
    );
  }
  context.restore();
  context.save();
  context.beginPath();
  context.rect(GUTTER.left, 0, size.width, GUTTER.top);
  context.clip();
  context.textAlign = "left";
  for (let column = columns.first; column < columns.last; column++) {
    look(cursor?.[1] === column);
    context.save();
    context.translate(GUTTER.left + column * cell - scroll.left + cell / 2, GUTTER.top - 6);
    context.rotate(-Math.PI / 3);
    context.fillText(shortened(pods[column] ?? "", COLUMN_NAME), 0, 0);
    context.restore();
  }
  context.restore();
}

/** Characters of a name that its place has room for. */
const ROW_NAME = 21;
const COLUMN_NAME = 16;

/** The end of a name tells more than its beginning. */
function shortened(name: string, shown: number): string {
  return name.length <= shown ? name : `…${name.slice(-shown + 1)}`;
}
