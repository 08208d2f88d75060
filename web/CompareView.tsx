/** Where strategies part over all classes of packets, as the command line writes it. */
import { Report } from "./Report.tsx";
import { askReport, compared, generation, limit, loaded, sendPackets, view } from "./state.ts";
import { useReport } from "./useReport.ts";
import { Waiting } from "./Waiting.tsx";

export function CompareView() {
  const names = (loaded.value?.strategies ?? []).map(({ name }) => name).filter((name) => name !== "reference");
  const chosen = compared.value;
  const strategies = chosen === undefined ? names : names.filter((name) => chosen.includes(name));
  const { result, isRunning } = useReport(
    loaded.value?.cluster === undefined || strategies.length === 0
      ? undefined
      : () => askReport("compare", { strategies, ...(limit.value !== undefined && { limit: limit.value }) }),
    [generation.value, strategies.join(" "), limit.value],
  );
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
                checked={strategies.includes(name)}
                onChange={({ currentTarget }) => {
                  compared.value = names.filter((each) =>
                    each === name ? currentTarget.checked : strategies.includes(each),
                  );
                }}
              />{" "}
              {name}
            </label>
          ))}
        </fieldset>
      </header>
      {isRunning && <Waiting what="every class of packets under each strategy" />}
      {result !== undefined && (
        <>
          <ul class="examples" aria-label="Where they part">
            {result.examples.length === 0 && <li class="faint">They agree on every packet that was asked about.</li>}
            {result.examples.map((example) => (
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
          <Report title="compare" lines={result.lines} />
        </>
      )}
    </section>
  );
}
