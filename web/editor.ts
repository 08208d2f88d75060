/** The editor of manifests: CodeMirror in a shadow root, where its style needs no leave from the page's policy. */
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { yaml } from "@codemirror/legacy-modes/mode/yaml";
import { type Diagnostic, lintGutter, setDiagnostics } from "@codemirror/lint";
import { EditorState, type Extension, RangeSetBuilder, StateEffect, StateField } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  drawSelection,
  EditorView,
  highlightActiveLine,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Issue, Place } from "./messages.ts";

interface Lit {
  readonly first: number;
  readonly last: number;
  readonly isDecision: boolean;
}

const setLit = StateEffect.define<readonly Lit[]>();

const litLines = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(decorations, transaction) {
    for (const effect of transaction.effects) {
      if (effect.is(setLit)) return decorate(transaction.state, effect.value);
    }
    return decorations.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

const DECISION = Decoration.line({ class: "lit-decision" });
const NAMED = Decoration.line({ class: "lit" });

function decorate(state: EditorState, lit: readonly Lit[]): DecorationSet {
  const byLine = new Map<number, boolean>();
  for (const { first, last, isDecision } of lit) {
    for (let line = first; line <= last; line++) byLine.set(line, isDecision || byLine.get(line) === true);
  }
  const builder = new RangeSetBuilder<Decoration>();
  for (const [line, isDecision] of [...byLine].sort(([a], [b]) => a - b)) {
    if (line > state.doc.lines) continue;
    const { from } = state.doc.line(line);
    builder.add(from, from, isDecision ? DECISION : NAMED);
  }
  return builder.finish();
}

/** Colours are the page's: custom properties reach into the shadow. */
const THEME = EditorView.theme({
  "&": { height: "100%", fontSize: "12.5px", color: "var(--text)", backgroundColor: "var(--panel)" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-2px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55" },
  ".cm-content": { caretColor: "var(--text)", paddingBottom: "4rem" },
  ".cm-gutters": { backgroundColor: "var(--panel)", color: "var(--faint)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--raised)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--selection) !important",
  },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".lit": { backgroundColor: "var(--lit)" },
  ".lit-decision": { backgroundColor: "var(--lit-strong)", boxShadow: "inset 3px 0 0 var(--accent)" },
  ".cm-tooltip": { backgroundColor: "var(--panel)", color: "var(--text)", border: "1px solid var(--line)" },
  ".cm-diagnostic": { fontFamily: "var(--sans)", fontSize: "12.5px", maxWidth: "36rem" },
  ".cm-diagnostic-error": { borderLeft: "3px solid var(--drop)" },
  ".cm-diagnostic-warning": { borderLeft: "3px solid var(--reject)" },
});

const COLOURS = HighlightStyle.define([
  { tag: [tags.propertyName, tags.atom, tags.definition(tags.propertyName)], color: "var(--code-key)" },
  { tag: [tags.string, tags.number], color: "var(--code-value)" },
  { tag: tags.keyword, color: "var(--code-value)" },
  { tag: tags.comment, color: "var(--faint)" },
  { tag: tags.meta, color: "var(--faint)" },
]);

/** Key names of the stream mode are "atom". */
const LANGUAGE = StreamLanguage.define(yaml);

export class Editor {
  readonly #view: EditorView;
  readonly #extensions: Extension;
  #name = "";
  /** What stands in it, as it was given or told: comparing it with the document takes milliseconds for a megabyte. */
  #text = "";
  #issues: readonly Issue[] = [];

  constructor(parent: HTMLElement, onEdit: (text: string) => void) {
    const root = parent.shadowRoot ?? parent.attachShadow({ mode: "open" });
    this.#extensions = [
      lineNumbers(),
      history(),
      drawSelection(),
      highlightActiveLine(),
      lintGutter(),
      // Tab is left to the keyboard's way through the page.
      keymap.of([...defaultKeymap, ...historyKeymap]),
      LANGUAGE,
      syntaxHighlighting(COLOURS),
      litLines,
      THEME,
      EditorView.contentAttributes.of({ "aria-label": "Manifests, YAML", spellcheck: "false", tabindex: "0" }),
      EditorView.updateListener.of((update) => {
        if (!update.docChanged) return;
        this.#text = update.state.doc.toString();
        onEdit(this.#text);
      }),
    ];
    this.#view = new EditorView({ root, parent: root, state: this.#stateOf("") });
  }

  /** A document that nobody has edited: there is nothing to undo. */
  #stateOf(text: string): EditorState {
    return EditorState.create({ doc: text, extensions: this.#extensions });
  }

  destroy(): void {
    this.#view.destroy();
  }

  /** Shows a file; its text is taken over when it is another than what stands there. */
  show(name: string, text: string): void {
    if (name === this.#name && text === this.#text) return;
    this.#name = name;
    this.#text = text;
    this.#issues = [];
    this.#view.setState(this.#stateOf(text));
    this.#view.scrollDOM.scrollTop = 0;
  }

  issues(issues: readonly Issue[]): void {
    if (issues.length === 0 && this.#issues.length === 0) return;
    this.#issues = issues;
    const { doc } = this.#view.state;
    const diagnostics = issues.map((issue): Diagnostic => {
      const line = doc.line(Math.min(Math.max(1, issue.line), doc.lines));
      const from = Math.min(line.to, line.from + Math.max(0, issue.column - 1));
      const to = Math.max(from, line.to);
      return {
        from,
        to,
        severity: issue.severity,
        message: issue.path === "" ? issue.message : `${issue.path}: ${issue.message}`,
      };
    });
    this.#view.dispatch(setDiagnostics(this.#view.state, diagnostics));
  }

  light(places: readonly Place[]): void {
    const { doc } = this.#view.state;
    const lit = places.flatMap((place): readonly Lit[] => {
      if (place.line < 1 || place.line > doc.lines) return [];
      return [{ first: place.line, last: this.#lastLine(place), isDecision: place.isDecision }];
    });
    this.#view.dispatch({ effects: setLit.of(lit) });
  }

  /** Somebody types in it, or reads: what it shows is theirs. */
  get hasFocus(): boolean {
    return this.#view.hasFocus;
  }

  /** Brings a line into sight, and takes the keyboard there when asked to. */
  reveal({ line, column }: Pick<Place, "line" | "column">, focus: boolean): void {
    const { doc } = this.#view.state;
    const at = doc.line(Math.min(Math.max(1, line), doc.lines));
    const anchor = Math.min(at.to, at.from + Math.max(0, column - 1));
    this.#view.dispatch({
      effects: EditorView.scrollIntoView(anchor, { y: "center" }),
      ...(focus && { selection: { anchor } }),
    });
    if (focus) this.#view.focus();
  }

  /** A value goes on as long as lines are indented at least as far as it is, and the document does not end. */
  #lastLine({ line, column }: Place): number {
    const { doc } = this.#view.state;
    let last = line;
    for (let number = line + 1; number <= doc.lines; number++) {
      const { text } = doc.line(number);
      if (/^(---|\.\.\.)/.test(text)) break;
      if (/^\s*(#.*)?$/.test(text)) continue;
      const indent = text.length - text.trimStart().length + 1;
      if (indent < column) break;
      last = number;
    }
    return last;
  }
}
