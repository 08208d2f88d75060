/** A recording through the rules: what would have become of its flows, and what a change of the policies would change. */
import { type Signal, useSignal } from "@preact/signals";
import { Report } from "./CompareView.tsx";
import type { ManifestFile } from "./messages.ts";
import { askReport, generation, loaded, report, strategy } from "./state.ts";
import { useReport } from "./useReport.ts";
import { Waiting } from "./Waiting.tsx";

type Manifests = readonly ManifestFile[] | undefined;

export function ReplayView() {
  const second = useSignal("");
  const recording = useSignal<File | undefined>(undefined);
  const before = useSignal<Manifests>(undefined);
  const after = useSignal<Manifests>(undefined);
  const prune = useSignal(false);
  const first = strategy.value;
  const isChange = before.value !== undefined || after.value !== undefined;
  const strategies = isChange || second.value === "" || second.value === first ? [first] : [first, second.value];
  const file = recording.value;
  const change = isChange ? { before: before.value, after: after.value, prune: prune.value } : undefined;
  const { result, isRunning } = useReport(
    file &&
      (async () =>
        askReport("replay", { strategies, change, name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) })),
    [generation.value, strategies.join(" "), file, before.value, after.value, prune.value],
  );
  return (
    <section class="pane report" aria-labelledby="replay-title">
      <header class="pane-head">
        <h2 id="replay-title">Replay</h2>
        <label class="button primary">
          {file === undefined ? "Open a capture or flow log…" : file.name}
          <input
            id="recording"
            type="file"
            class="visually-hidden"
            onChange={({ currentTarget }) => {
              recording.value = currentTarget.files?.[0] ?? recording.value;
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
              value={second.value}
              onChange={({ currentTarget }) => {
                second.value = currentTarget.value;
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
      </header>
      {file === undefined && (
        <p class="waiting">
          pcap, pcapng, flow logs of Cilium, Calico and clouds, or packets as JSON lines, plain or gzipped. They stay in
          this browser. Manifests before and after a change come on top of those on the left, as kubectl apply puts
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
