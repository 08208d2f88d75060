/** A recording through the rules: what would have become of its flows, and what a change of the policies would change. */
import type { Signal } from "@preact/signals";
import { useState } from "preact/hooks";
import type { ManifestFile, SavedNode } from "./messages.ts";
import { Report } from "./Report.tsx";
import {
  after,
  before,
  beside,
  filter,
  type Manifests,
  openRecording,
  prune,
  type Recording,
  recording,
  sizeText,
} from "./replayed.ts";
import { askReport, generation, loaded, report, saved, strategy } from "./state.ts";
import { useReport } from "./useReport.ts";
import { Waiting } from "./Waiting.tsx";

export function ReplayView() {
  const first = strategy.value;
  const second = beside.value;
  const isChange = before.value !== undefined || after.value !== undefined;
  const strategies = isChange || second === "" || second === first ? [first] : [first, second];
  const file = recording.value;
  const bytes = file?.bytes;
  const change = isChange ? { before: before.value, after: after.value, prune: prune.value } : undefined;
  const { result, isRunning } = useReport(
    file && bytes && (() => askReport("replay", { strategies, change, filter: filter.value, name: file.name, bytes })),
    [generation.value, strategies.join(" "), file, before.value, after.value, prune.value, filter.value],
  );
  return (
    <section class="pane report" aria-labelledby="replay-title">
      <header class="pane-head">
        <h2 id="replay-title">Replay</h2>
        <label class="button primary">
          {bytes === undefined ? "Open a capture or flow log…" : file?.name}
          <input
            id="recording"
            type="file"
            class="visually-hidden"
            onChange={({ currentTarget }) => {
              const [chosen] = currentTarget.files ?? [];
              if (chosen !== undefined) openRecording(chosen).catch(report);
            }}
          />
        </label>
        <Over id="before" label="Before…" files={before} />
        <Over id="after" label="After…" files={after} />
        {isChange && (
          <label class="inline">
            <input
              id="prune"
              type="checkbox"
              checked={prune.value}
              onChange={({ currentTarget }) => {
                prune.value = currentTarget.checked;
              }}
            />{" "}
            prune: policies they lack go
          </label>
        )}
        {!isChange && (
          <label class="inline">
            <span class="label">beside {first}</span>
            <select
              id="beside"
              value={second}
              onChange={({ currentTarget }) => {
                beside.value = currentTarget.value;
              }}
            >
              <option value="">nothing</option>
              {(loaded.value?.strategies ?? [])
                .filter((each) => each.name !== first)
                .map((each) => (
                  <option key={each.name}>{each.name}</option>
                ))}
            </select>
          </label>
        )}
        <Filter key={filter.value} />
      </header>
      <Kept file={file} />
      <OfNode saved={saved.value} strategies={strategies} />
      {file === undefined && (
        <p class="waiting">
          pcap, pcapng, flow logs of Cilium, Calico and clouds, or packets as JSON lines, plain or gzipped. They stay in
          this browser. Manifests before and after a change come on top of those that are loaded, as kubectl apply puts
          them.
        </p>
      )}
      {isRunning && <Waiting what="the recording through the rules" />}
      {result?.notes.map((note) => (
        <p class="waiting" key={note}>
          {note}
        </p>
      ))}
      {result !== undefined && <Report title="replay" lines={result.lines} />}
    </section>
  );
}

/** Which flows; asked for when it is written to its end. */
function Filter() {
  const [text, setText] = useState(filter.value);
  return (
    <label class="inline">
      <span class="label">only</span>
      <input
        id="filter"
        type="text"
        size={24}
        spellcheck={false}
        autocomplete="off"
        placeholder="tcp and not port 80"
        value={text}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
        onChange={({ currentTarget }) => {
          filter.value = currentTarget.value;
        }}
      />
    </label>
  );
}

/** What a link has no room for. */
function Kept({ file }: { readonly file: Recording | undefined }) {
  if (file === undefined || file.text !== undefined) return undefined;
  const size = sizeText(file.size);
  return (
    <p class="note">
      {file.bytes === undefined
        ? `This was made with ${file.name} (${size}), which is too large for a link: open it to see the same.`
        : `${file.name} (${size}) is too large for a link: a copied one holds everything else, and asks for it.`}
    </p>
  );
}

/** What stands for the node's own rules, where they were pasted. */
function OfNode({
  saved: node,
  strategies,
}: {
  readonly saved: SavedNode | undefined;
  readonly strategies: readonly string[];
}) {
  if (node === undefined) return undefined;
  return (
    <p class="note" id="of-node">
      {strategies.includes(node.strategy)
        ? `${node.strategy} is what the saves of ${node.node} say, before a change; packets meet that node alone.`
        : `The saves of ${node.node} are those of ${node.strategy}, which is not among these: what follows is compiled for ${node.node} alone.`}
    </p>
  );
}

/** Manifests of one side of the change. */
function Over({
  id,
  label,
  files,
}: {
  readonly id: string;
  readonly label: string;
  readonly files: Signal<Manifests>;
}) {
  const found = files.value;
  return (
    <span class="over">
      <label class="button">
        {found === undefined ? label : `${id}: ${found.map(({ name }) => name).join(", ")}`}
        <input
          id={id}
          type="file"
          class="visually-hidden"
          multiple
          accept=".yaml,.yml,.json"
          onChange={({ currentTarget }) => {
            textsOf(currentTarget.files)
              .then((texts) => {
                if (texts.length > 0) files.value = texts;
              })
              .catch(report);
          }}
        />
      </label>
      {found !== undefined && (
        <button
          type="button"
          class="quiet"
          aria-label={`Without ${id}`}
          onClick={() => {
            files.value = undefined;
          }}
        >
          ×
        </button>
      )}
    </span>
  );
}

function textsOf(list: FileList | null): Promise<readonly ManifestFile[]> {
  return Promise.all([...(list ?? [])].map(async (file) => ({ name: file.name, text: await file.text() })));
}
