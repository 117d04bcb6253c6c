# Writes the state dicts beside it, with PyTorch 2.11: what torch.save makes of dicts of tensors, and of more than that.
import torch, os
from collections import OrderedDict
out = os.path.dirname(os.path.abspath(__file__))
base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 4
d = OrderedDict()
d['f32'] = base
for name, t in [('f16', torch.float16), ('bf16', torch.bfloat16), ('f64', torch.float64), ('i64', torch.int64), ('i32', torch.int32), ('i16', torch.int16), ('i8', torch.int8), ('u8', torch.uint8)]:
    d[name] = base.to(t)
d['bool'] = torch.tensor([True, False, True])
d['transposed'] = base.t()
d['rows'] = base[1:3]
d['columns'] = base[:, 1::2]
d['expanded'] = torch.tensor([0.5]).expand(3)
d['scalar'] = torch.tensor(2.5)
d['empty'] = torch.zeros(0, 3)
d['tied'] = d['f16']
d['parameter'] = torch.nn.Parameter(base.clone())
torch.save(d, out + '/types.pt')
torch.save({k: d[k] for k in ['f32', 'bf16', 'tied']}, out + '/protocol4.pt', pickle_protocol=4)
torch.save({'f32': base}, out + '/legacy.pt', _use_new_zipfile_serialization=False)
m = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
with torch.no_grad():
    for i, p in enumerate(m.parameters()): p.copy_(torch.arange(p.numel(), dtype=torch.float32).reshape(p.shape) / 2 + i)
torch.save(m.state_dict(), out + '/module.pt')
torch.save({'model': m.state_dict(), 'epoch': 3}, out + '/nested.pt')
torch.save(m, out + '/whole_module.pt')
class Call:
    def __reduce__(self): return (print, ('a file was allowed to call a function',))
torch.save({'f32': base, 'call': Call()}, out + '/call.pt')
torch.save(base, out + '/tensor.pt')
torch.save({'c': torch.zeros(2, dtype=torch.complex64)}, out + '/complex.pt')
torch.save({'x': torch.zeros(2, dtype=torch.float8_e4m3fn)}, out + '/float8.pt')
