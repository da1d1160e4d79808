"""The page in the frame of a Space, in Chromium: huggingface.co gives the visitor's token."""

from urllib.parse import urlsplit

import pytest

from benchmarks.server import serve

pytestmark = pytest.mark.browser

SPACE = "https://me-geoseg.hf.space"
# The page around a Space, which answers the messages of the frame.
FRAME = f"""<!doctype html><iframe src="{SPACE}/" width="1366" height="768"></iframe><script>
addEventListener('message', event => {{
    const {{ data, source, origin, ports }} = event;
    if (data === 'supports-zerogpu-headers') source.postMessage(data, origin);
    if (data === 'zerogpu-headers') ports[0].postMessage({{ 'x-ip-token': 'a.e30.c' }});
}});
</script>"""


@pytest.fixture(scope="module")
def url(arguments):
    """Run the page as a Space does."""
    with serve(arguments, SPACE_ID="me/geoseg") as address:
        yield address


def test_jobs_carry_the_visitors_token_and_live_requests_do_not(browser, url):
    def forward(route):  # like the proxy of Spaces
        place = urlsplit(route.request.url)
        headers = {"X-Forwarded-Host": place.netloc, "X-Forwarded-Proto": place.scheme}
        told = {**route.request.headers, **headers}
        answer = route.fetch(url=f"{url}{place.path}?{place.query}", headers=told)
        route.fulfill(response=answer)

    context = browser.new_context()
    context.route("https://huggingface.co/**", lambda route: route.fulfill(body=FRAME))
    context.route(f"{SPACE}/**", forward)
    page = context.new_page()
    sent = []
    page.on("request", lambda request: sent.append(request))
    page.goto("https://huggingface.co/spaces/me/geoseg")
    (frame,) = page.frames[1:]
    frame.wait_for_function("window.geoseg && geoseg.scene && geoseg.settled")
    frame.get_by_role("button", name="Set", exact=True).click()
    with page.expect_request("**/page/rank"):
        frame.get_by_role("button", name="Score 5 patches with 3 models").click()
    frame.get_by_role("button", name="Export CSV").wait_for()
    tokens = {urlsplit(r.url).path: r.headers.get("x-ip-token") for r in sent}
    assert tokens["/page/rank"] == "a.e30.c"
    assert tokens["/page/look"] is None
    context.close()
