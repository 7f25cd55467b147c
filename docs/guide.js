// The copy button of a console block copies its commands, without the prompts and the outputs.
(() => {
  const textOf = window.playground_text;
  window.playground_text = (pre, hidden) => {
    const text = textOf(pre, hidden);
    if (!pre.querySelector('code.language-console')) return text;
    const commands = text.split('\n').filter((line) => line.startsWith('$ ')).map((line) => line.slice(2));
    return commands.join('\n') + '\n';
  };
})();
