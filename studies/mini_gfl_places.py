# Exploratory: all places of a dense head in place of the positives alone, for GFL on the mini set.
#
# Written before the runs, and after the search of mini_gfl.py had shown CrossKD, which compares all
# places, far ahead of the terms that compare the positives: is it the places? WKD-L and the
# divergence of sigmoids at all places, divided by the number of positives, and CrossKD's loss of
# classes on the student's own head.
#
# Command: python tools/compare.py studies/mini_gfl_places.py --threads 1
# Runs:    as of mini_gfl.py, whose records of the plain student and of CrossKD it shares
_base_ = 'mini_gfl.py'

title = 'GFL on the mini set, 400 steps: all places'
records = 'studies/results/mini_gfl'
references = ['plain', 'qfl_kd']
hypotheses = []
_all = dict(places='all', weigh_by=None, average='positives')
_term = 'model.distill.loss_{}.{}'
_more = {}
for _name, _title, _config, _places in (
    ('qfl_kd', 'QFL-KD', 'qfl-kd', {}),
    ('sigmoid_kd_all', 'sigmoid KD, all places', 'sigmoid-kd', _all),
    ('wkd_l_all', 'WKD-L, all places', 'wkd-l-dense', _all),
):
    _of = _config.replace('-', '_')
    _weighed = _term.format(_of, 'loss.loss_weight')
    _more[_name] = dict(
        title=_title,
        config=f'configs/mini/{_config}_gfl.py',
        overrides={
            'model.teacher.checkpoint': 'studies/results/mini_gfl/teacher.pth',
            **{_term.format(_of, key): value for key, value in _places.items()},
        },
        weight=[_weighed],
    )
methods = dict(
    _delete_=True,
    plain=_base_.methods.plain,
    crosskd=_base_.methods.crosskd,
    **_more,
)
