/** The walk: chains as columns in the order the packet meets them, rows lit where it went. */
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { HopView, RowView, StrategyWalk, VisitView } from "./messages.ts";
import { SetPanel } from "./SetPanel.tsx";
import { position, walk } from "./state.ts";

export function WalkView() {
  const shown = walk.value;
  if (shown === undefined || shown.absent !== undefined) return undefined;
  if (shown.hops.length === 0) return undefined;
  return (
    <section class="walk" aria-labelledby="walk-title">
      <header class="pane-head">
        <h2 id="walk-title">Walk</h2>
        <Stepper walk={shown} />
      </header>
      {shown.hops.map((hop) => (
        <HopColumns key={hop.node} hop={hop} />
      ))}
    </section>
  );
}

function rowsOf({ hops }: StrategyWalk): readonly RowView[] {
  return hops.flatMap(({ visits }) => visits.flatMap(({ rows }) => rows));
}

/** Steps forward and back; the arrow keys do the same. */
function Stepper({ walk: shown }: { readonly walk: StrategyWalk }) {
  const rows = rowsOf(shown);
  const last = rows.length - 1;
  const at = position.value;
  const go = (next: number | undefined) => {
    position.value = next === undefined || next > last ? undefined : Math.max(0, next);
  };
  const row = at === undefined ? undefined : rows[at];
  return (
    <>
      <div
        class="stepper"
        role="toolbar"
        aria-label="Steps of the walk"
        onKeyDown={(event) => {
          if (event.key === "ArrowRight") go((at ?? -1) + 1);
          if (event.key === "ArrowLeft") go((at ?? last + 1) - 1);
        }}
      >
        <button type="button" onClick={() => go(0)} aria-label="First step" title="First step">
          |◀
        </button>
        <button
          type="button"
          onClick={() => go((at ?? last + 1) - 1)}
          aria-label="One step back"
          title="One step back (←)"
        >
          ◀
        </button>
        <button
          type="button"
          onClick={() => go((at ?? -1) + 1)}
          aria-label="One step forward"
          title="One step forward (→)"
        >
          ▶
        </button>
        <button type="button" onClick={() => go(undefined)} aria-label="The whole walk" title="The whole walk">
          ▶|
        </button>
      </div>
      <span class="faint" role="status">
        {row === undefined
          ? `${rows.length.toLocaleString("en")} steps`
          : `step ${(at ?? 0) + 1} of ${rows.length}, mark 0x${row.mark.toString(16)}`}
      </span>
    </>
  );
}

function HopColumns({ hop }: { readonly hop: HopView }) {
  return (
    <div class="hop">
      <h3>
        <span>{hop.node}</span>
        <span class="faint">
          conntrack: {hop.ctState} {hop.ctWhy === "" ? "" : `(${hop.ctWhy})`}
        </span>
        <b class={hop.verdict}>{hop.verdict}</b>
      </h3>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by the keyboard (WCAG 2.1.1) */}
      <ol class="columns" tabIndex={0} aria-label={`Chains on ${hop.node}`}>
        {hop.visits.map((visit) => (
          <Column key={visit.rows[0]?.at ?? visit.name} visit={visit} node={hop.node} />
        ))}
      </ol>
    </div>
  );
}

/** Nothing of the chain touched the packet. */
function isPassed({ rows, table }: VisitView): boolean {
  return (
    table !== undefined &&
    rows.every(({ kind, number, action }) => kind === "failed" || (number !== "" && action === "policy accept"))
  );
}

function Column({ visit, node }: { readonly visit: VisitView; readonly node: string }) {
  const isOpen = useSignal(false);
  const at = position.value;
  const [first, last] = [visit.rows[0]?.at ?? 0, visit.rows.at(-1)?.at ?? 0];
  const isNow = at !== undefined && at >= first && at <= last;
  const passed = isPassed(visit) && !isOpen.value && !isNow;
  const isAhead = at !== undefined && first > at;
  return (
    <li class={`column${passed ? " passed" : ""}${isAhead ? " ahead" : ""}`} data-depth={Math.min(3, visit.depth)}>
      <h4>
        {visit.table !== undefined && <span class="table">{visit.table}</span>}
        <span class="chain" title={visit.name}>
          {visit.name}
        </span>
      </h4>
      {passed ? (
        <button
          type="button"
          class="fold"
          onClick={() => {
            isOpen.value = true;
          }}
        >
          {visit.rows.length === 1 ? "no rule" : `${visit.rows.length - 1} not matched`}
          <br />
          {visit.rows.at(-1)?.action}
        </button>
      ) : (
        <ol class="rows">
          {folded(visit.rows).map((part) =>
            part.kind === "row" ? (
              <Row key={part.row.at} row={part.row} node={node} />
            ) : (
              <Fold key={part.rows[0]?.at} rows={part.rows} node={node} />
            ),
          )}
          {visit.unreached > 0 && <li class="unreached">{visit.unreached} more not reached</li>}
        </ol>
      )}
    </li>
  );
}

type Part =
  | { readonly kind: "row"; readonly row: RowView }
  | { readonly kind: "fold"; readonly rows: readonly RowView[] };

/** More rules in a row than this that did not match are one line, to be opened. */
const FOLD = 3;

function folded(rows: readonly RowView[]): readonly Part[] {
  const parts: Part[] = [];
  let run: RowView[] = [];
  const end = () => {
    if (run.length > FOLD) parts.push({ kind: "fold", rows: run });
    else parts.push(...run.map((row): Part => ({ kind: "row", row })));
    run = [];
  };
  for (const row of rows) {
    if (row.kind === "failed" && row.action.startsWith("×")) {
      run.push(row);
      continue;
    }
    end();
    parts.push({ kind: "row", row });
  }
  end();
  return parts;
}

function Fold({ rows, node }: { readonly rows: readonly RowView[]; readonly node: string }) {
  const isOpen = useSignal(false);
  const at = position.value;
  const isNow = at !== undefined && rows.some((row) => row.at === at);
  if (isOpen.value || isNow) return rows.map((row) => <Row key={row.at} row={row} node={node} />);
  return (
    <li class="folded">
      <button
        type="button"
        class="fold"
        onClick={() => {
          isOpen.value = true;
        }}
      >
        {rows[0]?.number}–{rows.at(-1)?.number}: {rows.length} did not match
      </button>
    </li>
  );
}

function Row({ row, node }: { readonly row: RowView; readonly node: string }) {
  const item = useRef<HTMLLIElement>(null);
  const openSet = useSignal<string | undefined>(undefined);
  const at = position.value;
  const isNow = at === row.at;
  useLayoutEffect(() => {
    if (isNow) item.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [isNow]);
  const when = at === undefined || row.at < at ? "" : isNow ? " now" : " ahead";
  return (
    <li ref={item} class={`row ${row.kind}${when}`} title={row.text} aria-current={isNow ? "step" : undefined}>
      <span class="number">{row.number}</span>
      <div class="what">
        {row.lookup === undefined ? (
          <code class="conditions">{row.conditions.join(", ")}</code>
        ) : (
          <Lookup lookup={row.lookup} />
        )}
        <code class="action">{row.action}</code>
        {row.origin !== undefined && <span class="origin">{row.origin}</span>}
        {row.isMarked && <span class="origin">mark is now 0x{row.mark.toString(16)}</span>}
        {row.sets.map((set) => (
          <button
            type="button"
            class="link set"
            key={set}
            aria-expanded={openSet.value === set}
            onClick={() => {
              openSet.value = openSet.value === set ? undefined : set;
            }}
          >
            {set}
          </button>
        ))}
        {openSet.value !== undefined && <SetPanel node={node} set={openSet.value} />}
      </div>
    </li>
  );
}

type LookupParts = NonNullable<RowView["lookup"]>;

function Lookup({ lookup }: { readonly lookup: LookupParts }) {
  return (
    <table class="bytes">
      <tbody>
        <Fields of={lookup.key} />
        <tr class="answer">
          <th scope="row">answer</th>
          <td colSpan={2}>{lookup.meaning}</td>
        </tr>
        <Fields of={lookup.value ?? []} />
      </tbody>
    </table>
  );
}

function Fields({ of }: { readonly of: LookupParts["key"] }) {
  return of.map(({ name, hex, meaning }) => (
    <tr key={name}>
      <th scope="row">{name}</th>
      <td>
        <code>{hex}</code>
      </td>
      <td>{meaning}</td>
    </tr>
  ));
}
