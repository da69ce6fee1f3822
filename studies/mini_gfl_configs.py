# Exploratory: the configs of GFL on the mini set as they stand, and all places of the head.
#
# Written before its runs, and after the search of mini_gfl.py had shown two things. Its 200 steps
# end so early that it chose 9 times the class loss at 4 times the learning rate for the plain
# student, which says little of longer runs: here nothing is searched, and the runs are as long as
# the configs have them. And CrossKD, which compares all places, was far ahead of the terms that
# compare the positives: is it the places? So WKD-L and the divergence of sigmoids are here at all
# places too, divided by the number of positives, and CrossKD's loss of classes on the student's
# own head (QFL-KD).
#
# Command: python tools/compare.py studies/mini_gfl_configs.py --threads 1
# Runs:    10 arms of 3 seeds; it needs the teacher that mini_gfl.py trains
_base_ = 'mini_gfl.py'

title = 'GFL on the mini set, configs as they stand'
seeds = [1, 2, 3]
length = None
search = None
hypotheses = []
references = ['plain', 'sigmoid_kd', 'ld']
_term = 'model.distill.loss_{}.{}'
_all = dict(places='all', weigh_by=None, average='positives')
_teacher = {'model.teacher.checkpoint': 'studies/results/mini_gfl/teacher.pth'}
_arms = dict(
    sigmoid_kd=('sigmoid KD', 'sigmoid-kd', {}),
    sigmoid_kd_all=('sigmoid KD, all places', 'sigmoid-kd', _all),
    qfl_kd=('QFL-KD', 'qfl-kd', {}),
    crosskd=('CrossKD', 'crosskd', {}),
    ld=('LD', 'ld', {}),
    wkd_l=('WKD-L', 'wkd-l-dense', {}),
    wkd_l_all=('WKD-L, all places', 'wkd-l-dense', _all),
    wkd_sides=('Wasserstein distance of sides', 'wkd-sides', {}),
    wkd_l_sides=('WKD-L + sides', 'wkd-l-sides', {}),
)
methods = dict(
    _delete_=True,
    plain=dict(title='plain student', config='configs/mini/gfl_student.py'),
    **{
        _name: dict(
            title=_title,
            config=f'configs/mini/{_config}_gfl.py',
            overrides={
                **_teacher,
                **{
                    _term.format(_config.replace('-', '_'), _key): _value
                    for _key, _value in _places.items()
                },
            },
        )
        for _name, (_title, _config, _places) in _arms.items()
    },
)
