/** The truth table as a heat map: only what is in sight is computed and drawn. */
import { useEffect, useRef, useState } from "preact/hooks";
import { type Colours, cellOf, drawMatrix, GUTTER } from "./drawMatrix.ts";
import { matrixTable } from "./matrixRows.ts";
import { draft } from "./packet.ts";
import { generation, loaded, matrixPort, sendPackets, strategy, view } from "./state.ts";
import { shownTheme } from "./theme.ts";

const WORDS: Readonly<Record<string, string>> = {
  ".": "accept",
  X: "drop",
  R: "reject",
  "?": "unknown",
  "#": "itself",
};

export function MatrixView() {
  const cluster = loaded.value?.cluster;
  const pods = cluster?.matrix ?? [];
  const ports = cluster?.ports ?? [];
  const port = matrixPort.value ?? ports[0] ?? "tcp/80";
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [cursor, setCursor] = useState<readonly [row: number, column: number]>([0, 0]);
  const [isMarked, mark] = useState(false);
  const table = matrixTable(strategy.value, port);
  const reference = matrixTable("reference", port);
  const cell = cellOf(pods.length);
  const names = [generation.value, table.version.value, reference.version.value, shownTheme.value];

  useEffect(() => {
    const [frame, paper] = [box.current, canvas.current];
    if (frame === null || paper === null) return undefined;
    const draw = () => {
      const first = Math.max(0, Math.floor(frame.scrollTop / cell));
      const count = Math.ceil(frame.clientHeight / cell) + 1;
      table.want(first, count, pods.length);
      // The reference is slow by design: it must not be what somebody waits for who wants to see the strategy.
      if (table.hasAll(first, count, pods.length)) reference.want(first, count, pods.length);
      drawMatrix(paper, {
        pods,
        rowOf: (index) => table.row(index),
        meantOf: (index) => reference.row(index),
        scroll: { left: frame.scrollLeft, top: frame.scrollTop },
        size: { width: frame.clientWidth, height: frame.clientHeight },
        cursor: isMarked ? cursor : undefined,
        colours: coloursOf(frame),
      });
    };
    draw();
    frame.addEventListener("scroll", draw, { passive: true });
    const observer = new ResizeObserver(draw);
    observer.observe(frame);
    return () => {
      frame.removeEventListener("scroll", draw);
      observer.disconnect();
    };
  }, [names.join(" "), cursor, isMarked, pods, cell, table, reference]);

  if (cluster === undefined) return undefined;
  const [row, column] = cursor;
  const found = table.row(row)?.[column] ?? "";
  const meant = reference.row(row)?.[column] ?? "";
  const [from, to] = [pods[row] ?? "", pods[column] ?? ""];
  const differs = found !== "" && meant !== "" && (found === ".") !== (meant === ".");
  const walk = ([source, destination]: readonly [number, number]) => {
    const [protocol = "tcp", number] = port.split("/");
    if (source === destination) return;
    draft.value = {
      ...draft.value,
      source: pods[source] ?? "",
      destination: pods[destination] ?? "",
    };
    view.value = "walk";
    void sendPackets([
      {
        protocol,
        source: pods[source] ?? "",
        destination: pods[destination] ?? "",
        ...(number !== undefined && { sourcePort: 40_000, destinationPort: Number(number) }),
      },
    ]);
  };
  const move = (rows: number, columns: number) => {
    const next = [clamp(row + rows, pods.length), clamp(column + columns, pods.length)] as const;
    setCursor(next);
    mark(true);
    const frame = box.current;
    if (frame === null) return;
    const [top, left] = [next[0] * cell, next[1] * cell];
    if (top < frame.scrollTop) frame.scrollTop = top;
    if (top + cell > frame.scrollTop + frame.clientHeight - GUTTER.top)
      frame.scrollTop = top + cell - frame.clientHeight + GUTTER.top;
    if (left < frame.scrollLeft) frame.scrollLeft = left;
    if (left + cell > frame.scrollLeft + frame.clientWidth - GUTTER.left)
      frame.scrollLeft = left + cell - frame.clientWidth + GUTTER.left;
  };
  const placeAt = (event: MouseEvent): readonly [number, number] | undefined => {
    const frame = box.current;
    if (frame === null) return undefined;
    const { left, top } = frame.getBoundingClientRect();
    const at = [
      Math.floor((event.clientY - top - GUTTER.top + frame.scrollTop) / cell),
      Math.floor((event.clientX - left - GUTTER.left + frame.scrollLeft) / cell),
    ] as const;
    const isInside = event.clientY - top > GUTTER.top && event.clientX - left > GUTTER.left;
    return isInside && at.every((index) => index >= 0 && index < pods.length) ? at : undefined;
  };
  return (
    <section class="pane matrix" aria-labelledby="matrix-title">
      <header class="pane-head">
        <h2 id="matrix-title">Matrix</h2>
        <label class="inline">
          <span class="label">Port</span>
          <select
            id="matrix-port"
            value={port}
            onChange={({ currentTarget }) => {
              matrixPort.value = currentTarget.value;
            }}
          >
            {[...new Set([...ports, port])].map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <span class="spring" />
        <span class="legend" aria-hidden="true">
          <i class="cell accept" /> accept <i class="cell drop" /> drop <i class="cell reject" /> reject{" "}
          <i class="cell differs" /> differs from the reference
        </span>
      </header>
      <p class="matrix-line" role="status" id="matrix-cell">
        {isMarked && found !== "" ? (
          <>
            <code>
              {from} &gt; {to}
            </code>{" "}
            <b class={WORDS[found]}>{WORDS[found]}</b> {differs && <span>the reference says {WORDS[meant]}</span>}
          </>
        ) : (
          <span class="faint">rows send, columns receive; a cell opens its walk</span>
        )}
      </p>
      <div
        class="matrix-box"
        ref={box}
        role="application"
        aria-label={`Matrix of ${pods.length} pods, ${port}. Arrow keys move, Enter opens the walk.`}
        aria-describedby="matrix-cell"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys move in it
        tabIndex={0}
        onKeyDown={(event) => {
          const by = MOVES[event.key];
          if (by !== undefined) {
            event.preventDefault();
            move(...by);
          }
          if (event.key === "Enter") walk(cursor);
        }}
        onFocus={() => mark(true)}
        onMouseMove={(event) => {
          const at = placeAt(event);
          if (at === undefined || (at[0] === row && at[1] === column && isMarked)) return;
          setCursor(at);
          mark(true);
        }}
        onClick={(event) => {
          const at = placeAt(event);
          if (at !== undefined) walk(at);
        }}
      >
        <canvas ref={canvas} />
        <div
          class="matrix-space"
          style={{ width: GUTTER.left + pods.length * cell, height: GUTTER.top + pods.length * cell }}
        />
      </div>
    </section>
  );
}

const MOVES: Readonly<Record<string, readonly [rows: number, columns: number]>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  PageUp: [-10, 0],
  PageDown: [10, 0],
};

function clamp(index: number, length: number): number {
  return Math.max(0, Math.min(length - 1, index));
}

function coloursOf(element: HTMLElement): Colours {
  const style = getComputedStyle(element);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return {
    text: of("--text"),
    faint: of("--faint"),
    panel: of("--panel"),
    line: of("--line"),
    accent: of("--accent"),
    cells: {
      ".": of("--cell-accept"),
      X: of("--cell-drop"),
      R: of("--cell-reject"),
      "?": of("--unknown"),
      "#": of("--line"),
    },
    font: of("--mono"),
  };
}
