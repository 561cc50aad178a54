// Calls the page's pixels as they stand, and reports to Convey what each was really called with.
// `eventId` is for Google, whose tag carries the order's number instead of the event_id.
function conveyPixels({ url, key, eventId }) {
  let receipts = [];

  // A pixel that is not on the page has fired nothing, and must not keep the others from firing.
  function fire(pixel, call, platform, eventName, id, value, currency) {
    if (typeof pixel !== "function") return;
    pixel(...call);
    if (id) receipts.push({ platform, event_name: eventName, event_id: id, value, currency });
  }

  return {
    fbq(...call) {
      const [, name, data = {}, ids = {}] = call;
      fire(window.fbq, call, "meta", name, ids.eventID, data.value, data.currency);
    },
    ttq: {
      track(...call) {
        const [name, data = {}, ids = {}] = call;
        const pixel = window.ttq && ((...words) => window.ttq.track(...words));
        fire(pixel, call, "tiktok", name, ids.event_id, data.value, data.currency);
      },
    },
    pintrk(...call) {
      const [, name, data = {}] = call;
      fire(window.pintrk, call, "pinterest", name, data.event_id, data.value, data.currency);
    },
    snaptr(...call) {
      const [, name, data = {}] = call;
      fire(window.snaptr, call, "snapchat", name, data.client_dedup_id, data.price, data.currency);
    },
    gtag(...call) {
      const [, name, data = {}] = call;
      fire(window.gtag, call, "google", name, eventId, data.value, data.currency);
    },
    // A text needs no leave of the other origin (no CORS preflight), and is sent even if the page is left at once.
    send() {
      if (receipts.length) navigator.sendBeacon(url, JSON.stringify({ key, receipts }));
      receipts = [];
    },
  };
}
