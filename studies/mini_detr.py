# Queries on the mini set: DINO students, plain and distilled, all searched alike.
#
# Written before the runs. H1: on the same pairs of queries with the same distance of boxes, WKD-L
# between classes and background beats the divergence of sigmoids, since it knows which classes are
# alike. H2 and H3: each of them beats the plain student, whose class loss is searched as well.
# Three seeds of a short training of one pair see large effects only. The search and the table see
# the same 250 scenes, with other seeds.
#
# WKD-L begins at three times the weight of its config, and is then about as large a share of all
# losses as the divergence (3 % against 10 % in trials of 75 steps of both configs).
#
# Command: python tools/compare.py studies/mini_detr.py --threads 1
# Runs:    5 of the search for each method, more where its best lies at the edge, and 3 of the table
_base_ = '_base_/mini.py'

title = 'DINO on the mini set, 600 steps'
commit = '1ef06130235979bfead31475c19592e34a3e963f'
metrics = [dict(key='coco/bbox_mAP_50', title='AP50'), dict(key='coco/bbox_mAP_75', title='AP75')]
seeds = [1, 2, 3]
length = 600
references = ['plain', 'kd_query']
search = dict(
    seeds=[101],
    length=300,
    stages=[
        dict(keys='weight', factors=[0.3, 1, 3]),
        dict(keys='optim_wrapper.optimizer.lr', factors=[0.5, 1, 2]),
    ],
)
hypotheses = [
    dict(name='H1', title='WKD-L over sigmoid KD', method='wkd_l_query', over='kd_query'),
    dict(name='H2', title='WKD-L over the plain student', method='wkd_l_query', over='plain'),
    dict(name='H3', title='sigmoid KD over the plain student', method='kd_query', over='plain'),
]

# The backbones begin with those of GFL; the teacher of DINO is trained on its own.
prepare = [
    dict(name='data', command=['python', 'tools/make_mini_dataset.py']),
    *(
        dict(name=_run, config=f'configs/mini/{_run}.py', work_dir=f'work_dirs/mini/{_run}')
        for _run in ('gfl_student', 'gfl_teacher', 'dino_teacher')
    ),
]
_weight = 'model.distill.loss_{}.loss.loss_weight'
methods = dict(
    plain=dict(
        title='plain student',
        config='configs/mini/dino_student.py',
        weight='model.bbox_head.loss_cls.loss_weight',
    ),
    kd_query=dict(
        title='sigmoid KD + boxes',
        config='configs/mini/kd-query_dino.py',
        weight=[_weight.format('kd_query'), _weight.format('box_query')],
    ),
    wkd_l_query=dict(
        title='WKD-L + boxes',
        config='configs/mini/wkd-l-query_dino.py',
        overrides={_weight.format('wkd_l_query'): 3.0},
        weight=[_weight.format('wkd_l_query'), _weight.format('box_query')],
    ),
)
