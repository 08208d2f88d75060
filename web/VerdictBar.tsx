/** The answer in one look: verdict, why, what decided; and what the other strategies say. */
import type { StrategyWalk, Work } from "./messages.ts";
import { chooseStrategy, others, strategy, walk } from "./state.ts";

export function VerdictBar() {
  const shown = walk.value;
  if (shown === undefined) return undefined;
  if (shown.absent !== undefined) {
    return (
      <section class="verdict absent" aria-label="Answer">
        <p class="head">
          <b id="verdict">absent</b>{" "}
          <span>
            not for {shown.strategy}: {shown.absent}
          </span>
        </p>
        <Others />
      </section>
    );
  }
  const [first = "", ...rest] = shown.because;
  return (
    <section class={`verdict ${shown.verdict}`} aria-label="Answer">
      <p class="packet-line">
        <code>{shown.head}</code>
      </p>
      <p class="head">
        <b id="verdict">{shown.verdict}</b> <span class="why">{first}</span>
      </p>
      {rest.map((line) => (
        <p class="more" key={line}>
          {line}
        </p>
      ))}
      {shown.failures.map((line) => (
        <p class="more failure" key={line}>
          not as the scenario expects: {line}
        </p>
      ))}
      {shown.decision !== undefined && (
        <p class="more decision">
          <code id="decision">{shown.decision}</code>
        </p>
      )}
      <Cost walk={shown} />
      <Others />
    </section>
  );
}

function Cost({ walk: { work, workText, ctState, modelled } }: { readonly walk: StrategyWalk }) {
  // A pod reaches itself without meeting any rule.
  const done = work !== undefined && COUNTED.some(([kind]) => work[kind] > 0) ? work : undefined;
  return (
    <dl class="cost">
      <div>
        <dt>state</dt>
        <dd id="state">{ctState}</dd>
      </div>
      {done !== undefined && (
        <div>
          <dt>work</dt>
          <dd>
            <span id="work" class="visually-hidden">
              {workText}
            </span>
            <Counts work={done} />
          </dd>
        </div>
      )}
      {modelled !== undefined && done !== undefined && (
        <div class="modelled">
          <dt title={`by the calibration profile ${modelled.profile}; not measured here`}>modelled</dt>
          <dd>
            {Math.round(modelled.ns).toLocaleString("en")} ns{" "}
            <span class="faint">
              ({Math.round(modelled.low).toLocaleString("en")}–{Math.round(modelled.high).toLocaleString("en")}, profile{" "}
              {modelled.profile}
              {modelled.unknown.length > 0 && `; no cost known for ${modelled.unknown.join(", ")}`})
            </span>
          </dd>
        </div>
      )}
    </dl>
  );
}

/** By what is counted, in the order and the words of the text. */
const COUNTED = [
  ["rules", "rules"],
  ["chains", "chains"],
  ["setLookups", "set look-ups"],
  ["mapLookups", "map look-ups"],
  ["trieLookups", "trie look-ups"],
  ["conntrackLookups", "conntrack look-ups"],
] as const satisfies readonly (readonly [keyof Work, string])[];

/** A bar for each kind of work, all on one scale: the most that any strategy did of anything for this packet. */
function Counts({ work }: { readonly work: Work }) {
  const all = [work, ...others.value.flatMap((other) => (other.work === undefined ? [] : [other.work]))];
  const most = Math.max(1, ...all.flatMap((each) => COUNTED.map(([kind]) => each[kind])));
  return (
    <span class="counts" aria-hidden="true">
      {COUNTED.filter(([kind]) => work[kind] > 0).map(([kind, name]) => (
        <span class="count" key={kind}>
          <span class="kind">{name}</span>
          <i style={{ width: `${Math.max(1, (100 * work[kind]) / most)}px` }} />
          <b class="amount">{work[kind]}</b>
        </span>
      ))}
    </span>
  );
}

function Others() {
  return (
    <ul class="others" aria-label="The same packet under each strategy">
      {others.value.map((other) => (
        <li key={other.strategy}>
          <button
            type="button"
            class={other.absent === undefined ? other.verdict : "absent"}
            aria-current={other.strategy === strategy.value ? "true" : undefined}
            title={other.absent ?? other.because[0]}
            onClick={() => void chooseStrategy(other.strategy)}
          >
            <span>{other.strategy}</span> <b>{other.absent === undefined ? other.verdict : "absent"}</b>
          </button>
        </li>
      ))}
    </ul>
  );
}
