"""Import every visdec module, and say with which fastcore.

    python .github/tools/import_all.py                                          with the installed fastcore
    PYTHONPATH=/folder/with/fastcore2 python .github/tools/import_all.py 2      fastcore must be 2.x

`visdec` must import on fastcore 1.14 (which nbdev 2 needs) and on 2.x (which a user's pip takes), and must never
import nbdev, which is a tool of developers. Ends with 'N passed, N failed'; exits 1 when one failed."""
import importlib, pkgutil, sys, traceback

import fastcore, visdec

def main():
    major = sys.argv[1] if len(sys.argv) > 1 else fastcore.__version__.split('.')[0]
    names, bad = ['visdec', *(f'visdec.{m.name}' for m in pkgutil.iter_modules(visdec.__path__))], 0
    print(f'fastcore {fastcore.__version__} from {fastcore.__path__[0]}')
    if fastcore.__version__.split('.')[0] != major: sys.exit(f'expected fastcore {major}.x')
    for name in names:
        try:
            importlib.import_module(name)
            if 'nbdev' in sys.modules: raise ImportError(f'{name} imports nbdev')
        except Exception:
            bad += 1
            print(f'FAIL {name}'); traceback.print_exc(file=sys.stdout)
    print(f'{len(names)-bad} passed, {bad} failed')
    sys.exit(1 if bad else 0)

if __name__ == '__main__': main()
