// A voice from the browser's microphone as 16-bit WAV: buttons, a level meter, a time limit.
//
// `askForVoice({kinds, kind, most, upload})` shows a box at the end of the page and gives, once a
// button was pressed,
//   {kind, wav, lost}     a recording of kinds[kind]: base64, and the seconds that the browser lost
//   {kind, upload: true}  files of that kind are to be chosen
//   {done: true}          nothing more
//   {error, told}         the name of what the browser said, and its words
// Python makes the sentences. Nothing of Colab is needed, nothing stays in the page.

async function askForVoice({kinds, kind, most, upload}) {
  const box = document.createElement("div");
  box.className = "suite-recorder";
  box.style.cssText = "display:flex;flex-wrap:wrap;gap:.6em;align-items:center;padding:.5em 0";
  const add = (name, text, label) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (label) made.setAttribute("aria-label", label);
    box.append(made);
    return made;
  };
  const select = add("select", "", "what is recorded");
  for (const one of kinds) select.add(new Option(one));
  select.selectedIndex = kind;
  const record = add("button", "Record");
  const meter = Object.assign(add("meter", "", "level"), {min: -60, max: 0, value: -60});
  // below: too quiet; above: about to be clipped
  Object.assign(meter, {low: -40, high: -3, optimum: -20});
  const clock = add("span", `up to ${most} s`);
  clock.setAttribute("role", "status");
  const choose = upload ? add("button", "Upload files") : null;
  const done = add("button", "Done");
  document.body.append(box);
  window.google?.colab?.output?.setIframeHeight(document.documentElement.scrollHeight, true);

  const pressed = (button) => new Promise((resolve) => { button.onclick = () => resolve(button); });
  const first = await Promise.race([record, choose, done].filter(Boolean).map(pressed));
  try {
    if (first === done) return {done: true};
    const chosen = {kind: select.selectedIndex};
    if (first === choose) return {...chosen, upload: true};
    select.disabled = done.disabled = true;
    if (choose) choose.disabled = true;
    record.textContent = "Stop";
    const show = (level, seconds) => {
      meter.value = level;
      clock.textContent = `${seconds.toFixed(1)} of ${most} s`;
    };
    return {...chosen, ...await recorded(most, pressed(record), show)};
  } catch (error) {
    return {error: error.name, told: error.message};
  } finally {
    box.remove();
  }
}

// Record until `stop` is resolved, or `most` seconds: {wav, lost}.
async function recorded(most, stop, show) {
  if (!navigator.mediaDevices) throw new DOMException("the page is not secure", "SecurityError");
  // what a telephone call wants evened out is what tells emotions apart
  const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const audio = {channelCount: 1, ...plain};
  const stream = await navigator.mediaDevices.getUserMedia({audio});
  const context = new AudioContext();
  try {
    await context.resume();
    const source = context.createMediaStreamSource(stream);
    // old, but in every browser, and without a second script, which a page may refuse to load
    const tap = context.createScriptProcessor(4096, 1, 1);
    const chunks = [];
    let count = 0, begin = null, end = 0;
    const full = new Promise((resolve) => {
      tap.onaudioprocess = (event) => {
        const samples = event.inputBuffer.getChannelData(0).slice();
        begin ??= event.playbackTime;
        end = event.playbackTime + samples.length / context.sampleRate;
        chunks.push(samples);
        count += samples.length;
        const power = samples.reduce((sum, one) => sum + one * one, 0) / samples.length;
        show(10 * Math.log10(power + 1e-12), Math.min(count / context.sampleRate, most));
        if (count >= most * context.sampleRate) resolve();
      };
    });
    source.connect(tap).connect(context.destination);
    await Promise.race([stop, full]);
    tap.onaudioprocess = null;
    const lost = begin === null ? 0 : end - begin - count / context.sampleRate;
    const length = Math.min(count, Math.round(most * context.sampleRate));
    return {wav: await base64(wavOf(chunks, length, context.sampleRate)), lost};
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
  }
}

// The first `length` samples as a mono WAV file of 16 bits.
function wavOf(chunks, length, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * length));
  const text = (at, word) => [...word].forEach((one, n) => view.setUint8(at + n, one.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);  // PCM
  view.setUint16(22, 1, true);  // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * length, true);
  let at = 0;
  for (const chunk of chunks) {
    for (const sample of chunk.subarray(0, length - at)) {
      const value = Math.max(-32768, Math.min(32767, Math.round(32768 * sample)));
      view.setInt16(44 + 2 * at++, value, true);
    }
  }
  return new Blob([view.buffer], {type: "audio/wav"});
}

function base64(blob) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1]);
    reader.readAsDataURL(blob);
  });
}
