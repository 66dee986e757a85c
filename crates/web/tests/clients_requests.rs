//! Python's `requests` and `httpx`, as most programs use them: connections that are kept, redirects, cookies, compression, bodies of every
//! kind, and TLS with an authority of one's own.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod foreign;

const REQUESTS: &str = r#"
import io, sys, requests
http, https, folder = sys.argv[1:]
timeout = 20

session = requests.Session()
session.trust_env = False
get = lambda path, **more: session.get(http + path, timeout=timeout, **more)
place = get('/place').text
assert get('/place').text == place, 'a connection is kept'

words = get('/words')
assert words.headers['Content-Encoding'] in ('gzip', 'br', 'zstd') and words.text == 'word ' * 100000
plain = get('/words', headers={'Accept-Encoding': 'identity'})
assert 'Content-Encoding' not in plain.headers and len(plain.content) == 500000
packed = get('/words', headers={'Accept-Encoding': 'br'}, stream=True)
assert packed.headers['Content-Encoding'] == 'br' and len(packed.raw.read(decode_content=False)) < 1000
assert session.head(http + '/words', timeout=timeout).headers['Content-Type'].startswith('text/plain')

for status, method in [(301, 'GET'), (302, 'GET'), (303, 'GET'), (307, 'POST'), (308, 'POST')]:
    answer = session.post(http + f'/to/{status}', data='x', timeout=timeout)
    assert answer.text == method and answer.history[0].status_code == status, (status, answer.text)
try:
    get('/round')
    raise SystemExit('it goes round for ever')
except requests.TooManyRedirects:
    pass

answer = get('/in')
assert answer.text == '1,' and session.cookies['here'] == '1', answer.text
assert get('/out').text == 'out' and 'here' not in session.cookies
assert get('/cookies').text == ','

large = b'rope' * 500000
total = f'{len(large)} {sum(large)}'
post = lambda path, **more: session.post(http + path, timeout=timeout, **more)
assert post('/sum', data=large).text == f'{total} length none'
assert post('/sum', data=io.BytesIO(large)).text == f'{total} length none', 'a file'
pieces = (large[at:at + 10000] for at in range(0, len(large), 10000))
assert post('/sum', data=pieces).text == f'{total} chunked none', 'a generator'
assert post('/raw', json={'a': [1, 'ü']}).json() == {'a': [1, 'ü']}
form = post('/raw', data={'a': '1 2', 'b': 'ü'})
assert form.text == 'a=1+2&b=%C3%BC' and form.headers['X-Kind'] == 'application/x-www-form-urlencoded'
multipart = post('/raw', files={'file': ('f.txt', b'in the file', 'text/plain')}, data={'field': 'value'})
boundary = multipart.headers['X-Kind'].removeprefix('multipart/form-data; boundary=')
assert multipart.content.endswith(f'--{boundary}--\r\n'.encode()) and b'filename="f.txt"' in multipart.content
assert post('/refuse', data=(b'x' * 1000 for _ in range(10))).status_code == 403

lines = [line for line in get('/dripping', stream=True).iter_lines(decode_unicode=True) if line.startswith('data')]
assert lines == [f'data: drop {number}' for number in range(5)]
assert get('/who').status_code == 401 and get('/who', auth=('me', 'p:w')).text == 'me:p:w'
assert get('/close').text == 'bye' and get('/place').text != place

secure = requests.Session()
secure.trust_env, secure.verify = False, folder + '/ca.pem'
place = secure.get(https + '/place', timeout=timeout).text
assert secure.get(https + '/place', timeout=timeout).text == place
assert secure.get(https + '/words', timeout=timeout).text == 'word ' * 100000
assert secure.post(https + '/sum', data=large, timeout=timeout).text == f'{total} length none'
assert secure.get(https + '/certificate', timeout=timeout).text == 'nobody'
known = secure.get(https + '/certificate', cert=folder + '/client.pem', timeout=timeout)
assert known.text == 'client.example', known.text
stranger = requests.Session()
stranger.trust_env = False
try:
    stranger.get(https + '/place', timeout=timeout)
    raise SystemExit('a stranger is believed')
except requests.exceptions.SSLError:
    pass
print('fine')
"#;

const HTTPX: &str = r#"
import asyncio, ssl, sys, httpx
http, https, folder = sys.argv[1:]
large = b'rope' * 500000
total = f'{len(large)} {sum(large)}'

def everything(client):
    place = client.get('/place').text
    assert client.get('/place').text == place, 'a connection is kept'
    assert client.get('/words').text == 'word ' * 100000
    assert client.get('/to/302').status_code == 302, 'it follows only where it is told to'
    for status, method in [(301, 'GET'), (302, 'GET'), (303, 'GET'), (307, 'POST'), (308, 'POST')]:
        answer = client.post(f'/to/{status}', content='x', follow_redirects=True)
        assert answer.text == method, (status, answer.text)
    assert client.get('/in', follow_redirects=True).text == '1,' and client.cookies['here'] == '1'
    assert client.post('/sum', content=large).text == f'{total} length none'
    pieces = (large[at:at + 10000] for at in range(0, len(large), 10000))
    assert client.post('/sum', content=pieces).text == f'{total} chunked none'
    multipart = client.post('/raw', files={'file': ('f.txt', b'in the file')}, data={'field': 'value'})
    assert multipart.headers['X-Kind'].startswith('multipart/form-data') and b'in the file' in multipart.content
    with client.stream('GET', '/dripping') as answer:
        lines = [line for line in answer.iter_lines() if line.startswith('data')]
    assert lines == [f'data: drop {number}' for number in range(5)]
    assert client.request('OPTIONS', '/words').headers['Allow'] == 'GET, HEAD, OPTIONS'
    assert client.get('/who', auth=('me', 'pw')).text == 'me:pw'

with httpx.Client(base_url=http, timeout=20, trust_env=False) as client:
    everything(client)
context = ssl.create_default_context(cafile=folder + '/ca.pem')
context.load_cert_chain(folder + '/client.pem')
with httpx.Client(base_url=https, verify=context, timeout=20, trust_env=False) as client:
    everything(client)
    assert client.get('/certificate').text == 'client.example'
try:
    httpx.get(https + '/place', timeout=20, trust_env=False)
    raise SystemExit('a stranger is believed')
except httpx.ConnectError:
    pass

async def many():
    async with httpx.AsyncClient(base_url=http, timeout=20, trust_env=False) as client:
        answers = await asyncio.gather(*(client.post('/sum', content=large[:at * 1000]) for at in range(50)))
        assert [answer.text.split()[0] for answer in answers] == [str(at * 1000) for at in range(50)]
        # One that is given up in the middle leaves the others alone.
        waiting = asyncio.create_task(client.get('/dripping'))
        await asyncio.sleep(0)
        waiting.cancel()
        assert (await client.get('/method')).text == 'GET'
asyncio.run(many())
print('fine')
"#;

#[test]
fn requests() {
    if let Some(said) = foreign::python("requests", REQUESTS) {
        assert_eq!(said, "fine\n");
    }
}

#[test]
fn httpx() {
    if let Some(said) = foreign::python("httpx", HTTPX) {
        assert_eq!(said, "fine\n");
    }
}
