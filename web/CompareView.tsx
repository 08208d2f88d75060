/** Where strategies part over all classes of packets, as the command line writes it. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { CompareReport } from "./messages.ts";
import { askReport, generation, loaded, report, sendPackets, view } from "./state.ts";
import { Waiting } from "./Waiting.tsx";

export function CompareView() {
  const names = (loaded.value?.strategies ?? []).map(({ name }) => name).filter((name) => name !== "reference");
  const chosen = useSignal<readonly string[]>(names);
  const result = useSignal<CompareReport | undefined>(undefined);
  const isRunning = useSignal(false);
  const now = generation.value;
  useEffect(() => {
    result.value = undefined;
    if (loaded.peek()?.cluster === undefined || chosen.value.length === 0) return;
    isRunning.value = true;
    askReport("compare", { strategies: chosen.value })
      .then((answer) => {
        result.value = answer;
      })
      .catch(report)
      .finally(() => {
        isRunning.value = false;
      });
  }, [now, chosen.value.join(" ")]);
  return (
    <section class="pane report" aria-labelledby="compare-title">
      <header class="pane-head">
        <h2 id="compare-title">Compare</h2>
        <fieldset class="choices">
          <legend class="visually-hidden">Strategies</legend>
          {names.map((name) => (
            <label key={name}>
              <input
                type="checkbox"
                checked={chosen.value.includes(name)}
                onChange={({ currentTarget }) => {
                  chosen.value = names.filter((each) =>
                    each === name ? currentTarget.checked : chosen.value.includes(each),
                  );
                }}
              />{" "}
              {name}
            </label>
          ))}
        </fieldset>
      </header>
      {isRunning.value && <Waiting what="every class of packets under each strategy" />}
      {result.value !== undefined && (
        <>
          <ul class="examples" aria-label="Where they part">
            {result.value.examples.length === 0 && (
              <li class="faint">They agree on every packet that was asked about.</li>
            )}
            {result.value.examples.map((example) => (
              <li key={`${example.cause} ${example.text}`}>
                <button
                  type="button"
                  class="link"
                  onClick={() => {
                    view.value = "walk";
                    void sendPackets([example.packet]);
                  }}
                >
                  <code>{example.text}</code>
                </button>
                <span class="faint">{example.cause}</span>
                <span class="verdicts">
                  {Object.entries(example.verdicts).map(([name, verdict]) => (
                    <span key={name}>
                      {name} <b class={verdict}>{verdict}</b>
                    </span>
                  ))}
                </span>
              </li>
            ))}
          </ul>
          <Report title="compare" lines={result.value.lines} />
        </>
      )}
    </section>
  );
}

/** The text of a command, as it is. */
export function Report({ title, lines }: { readonly title: string; readonly lines: readonly string[] }) {
  return (
    <section
      class="text"
      aria-label={`Report of ${title}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by the keyboard (WCAG 2.1.1)
      tabIndex={0}
    >
      <pre>{lines.join("\n")}</pre>
    </section>
  );
}
